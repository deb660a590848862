"""A cohort's card: what its scans measure like, beside published values."""
