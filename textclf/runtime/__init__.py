"""From texts to predictions: what Inference, Monitoring and Retrain all call.

Imports where TensorFlow is not installed; only loading a SavedModel imports it, inside a function.
May import the hall and stats/; never data/, training/ or a stage.
"""
