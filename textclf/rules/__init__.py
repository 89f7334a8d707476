"""Rules of an operator: patterns in a TOML file, or functions in a Python file, before and after the model.

They are applied in Predictor, so that every way to score texts gives the same answer.
"""
