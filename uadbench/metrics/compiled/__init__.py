"""Metrics on a CPU as loops over voxels, compiled to machine code by numba."""
