"""HTTP around Inference: a thin Flask app, the settings it reads from the environment, and what starts it.

A request flows one way: bodies -> questions -> predictor -> answers; observing counts and logs it.
May import Inference, the hall, data/feedback and runtime/; never TensorFlow, training/ or another stage.
"""
