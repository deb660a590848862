"""Evaluation of a trained model on the test sets: calibration, inference, and scores of every case (`evaluator`)."""
