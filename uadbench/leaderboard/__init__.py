"""The leaderboard: reading and checking committed results, ranking models, and generating tables and pages."""
