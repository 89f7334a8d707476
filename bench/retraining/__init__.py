"""Benchmarks of retraining on real data, clean and poisoned."""
