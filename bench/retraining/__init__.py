"""Retraining on real data, clean and poisoned."""
