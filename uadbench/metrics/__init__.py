"""Metrics: pure functions that score reconstructions and anomaly maps, and the catalogue that describes them."""
