"""The public Python functions, which `uadbench` re-exports: run, read, compare, simulate, evaluate, data sets."""
