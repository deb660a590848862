"""The models, one architecture a file; `base` holds the contract."""
