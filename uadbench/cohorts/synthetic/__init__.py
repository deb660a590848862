"""How the phantom's people and scans are made."""
