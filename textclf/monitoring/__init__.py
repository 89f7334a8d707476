"""Drift monitoring: samples, comparison, windows, and retraining when drift is found."""
