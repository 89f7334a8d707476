"""Benchmarks of drift detection: false alarms, power, cost."""
