"""Training speed and recipes."""
