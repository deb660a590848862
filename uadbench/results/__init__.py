"""The schema of results, and what is computed from the scores of cases."""
