"""HTTP around Inference: a thin Flask app, the settings it reads from the environment, and what starts it.

A request flows one way: bodies -> questions -> predictor -> answers; observing counts and logs it.
What serves may import Inference, the hall, runtime/, and of data/ feedback and the prediction log. What trains,
training_job and channels, may import data/ too, and the stage train_model inside a function; what serves never
imports it. Nothing here imports TensorFlow or training/.
"""
