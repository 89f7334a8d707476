"""From texts to predictions: used by Inference, Monitoring, Retrain and the server.

It runs without TensorFlow; only loading a SavedModel imports TensorFlow, inside a function.
It may import the base modules, stats/, store/ and drift/; never data/, training/ or a stage.
"""
