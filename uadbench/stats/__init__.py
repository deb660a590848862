"""Statistics of scores: intervals, paired tests, rank intervals; nothing here knows a scan or a model."""
