"""Two-sample tests and estimates for drift: pure functions of arrays."""
