"""From texts to predictions: what Inference, Monitoring and Retrain all call.

Runs where TensorFlow is not installed; a plain SavedModel is the one case that loads it, lazily.
May import the hall and stats/; never data/, training/ or a stage.
"""
