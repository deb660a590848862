"""Taking part through files: the test set out as NIfTI, reconstructions or anomaly maps of any tool back in."""
