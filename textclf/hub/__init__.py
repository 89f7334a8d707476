"""Classifiers on the Hugging Face Hub: names, the files that are needed, and their download (extra `hub`)."""
