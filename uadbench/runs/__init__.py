"""Runs: one run trains or loads a model, evaluates it, and writes its result (`run.complete`)."""
