"""Protocols: the frozen TOML files (smoke, quick, paper, paper-cv), and their schema."""
