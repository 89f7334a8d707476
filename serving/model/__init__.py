"""The model that a worker serves: loading, warm-up, hot swap."""
