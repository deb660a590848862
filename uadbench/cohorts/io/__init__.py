"""Files of scans and tables of people: read, checked and written."""
