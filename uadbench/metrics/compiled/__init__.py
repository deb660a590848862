"""Loops over voxels as machine code, for the metrics on a CPU."""
