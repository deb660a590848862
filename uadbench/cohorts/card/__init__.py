"""Cohort summary: measurements of a cohort's scans compared with published values (`uadbench cohort info`)."""
