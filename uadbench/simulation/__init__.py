"""Simulated anomalies in healthy scans, and the test sets that are made of them."""
