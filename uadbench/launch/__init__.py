"""Many runs: one after the other in this process, or spread over the workers of a Dask cluster."""
