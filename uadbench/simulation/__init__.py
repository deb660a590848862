"""Simulated anomalies in healthy scans, the test sets made from them, and the files of `uadbench simulate`."""
