"""Benchmarks of training: speed and recipes."""
