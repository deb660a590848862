"""Splits: the division of participants into training, validation and test sets, and the roles of diagnoses."""
