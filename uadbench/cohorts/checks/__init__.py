"""What is wrong with a cohort, found before anything is trained."""
