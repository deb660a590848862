"""A trained model applied to scans: volumes on each scan's own lattice, regions, a score among healthy scans."""
