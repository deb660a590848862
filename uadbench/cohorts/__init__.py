"""Cohorts: sources of scans (phantom, CAPS trees, tables of NIfTI files), their checks, cache, and splits."""
