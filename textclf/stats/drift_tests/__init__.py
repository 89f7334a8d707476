"""Statistical tests for drift between two samples of texts."""
