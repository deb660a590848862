"""uadbench: a benchmark of unsupervised anomaly detection on brain FDG PET."""

__version__ = "0.1.0"
