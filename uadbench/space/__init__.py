"""MNI space: the AAL3 atlas, tissue maps, resampling between grids, and Gaussian smoothing."""
