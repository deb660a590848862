"""Execution of many runs: one after another in this process, or in parallel on the workers of a Dask cluster."""
