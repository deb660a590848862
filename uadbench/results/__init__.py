"""Results: their schema and files, metrics aggregated from case scores, comparisons, and removal of identities."""
