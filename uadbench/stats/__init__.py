"""Statistics of score arrays: confidence intervals, detection (AUROC), paired tests, and sets of ranks."""
