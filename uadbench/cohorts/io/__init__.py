"""Input and output of cohorts: NIfTI files, tables of participants and visits, session ids, and CAPS export."""
