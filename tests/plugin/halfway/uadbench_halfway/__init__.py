"""A model of another package."""
