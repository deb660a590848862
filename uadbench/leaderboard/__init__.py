"""Committed results, and what is generated from them."""
