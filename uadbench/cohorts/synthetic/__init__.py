"""Generation of the phantom's participants and scans: demographics, anatomy, uptake, disease, and scanner."""
