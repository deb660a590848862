"""One run: a model is trained or loaded, evaluated, and its result is written."""
