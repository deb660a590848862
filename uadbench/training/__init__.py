"""The training loop for models that learn by gradients (`loop`)."""
