"""Who trains, who validates and who tests."""
