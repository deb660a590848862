"""File exchange with tools outside Python: export of images as NIfTI, and scoring of a tool's output files."""
