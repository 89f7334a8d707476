"""Steps of retraining.py: combining data sets, comparing models, recipes and locks. Imports no stage."""
