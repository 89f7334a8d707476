"""Hyperparameter search: `textclf tune`."""
