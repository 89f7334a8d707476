"""Steps of monitoring.py: options, samples, windows, audits, and when a retraining starts. Imports no stage."""
