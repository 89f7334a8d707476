"""Evaluation of a version: scores labelled texts, finds the words of each class, and writes the evaluation page."""
