"""A trained model meets the test sets: `evaluator` takes a scan through them, from the images to its rows of scores."""
