"""Benchmarks of accuracy on labelled sets, with and without the cascade."""
