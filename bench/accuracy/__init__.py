"""Accuracy on labelled sets, and what the cascade adds."""
