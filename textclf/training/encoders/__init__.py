"""Encoder handles to TF-Hub SavedModels, their preprocessing and their weights."""
