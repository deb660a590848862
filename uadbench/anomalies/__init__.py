"""What is done to a healthy scan: simulated hypometabolism."""
