"""The space that scans share: the AAL3 atlas, the MNI grid, and smoothing on it."""
