"""One result, shown: figures."""
