"""Accuracy with a few labels per class."""
