"""Shared parts of the command lines: commands with one-line errors, options and durations."""
