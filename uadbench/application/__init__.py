"""Applying a trained model to scans: maps on the grid of each scan, AAL3 regions, a score among healthy scans."""
