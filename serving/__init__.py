"""HTTP around Inference: a thin Flask app, the settings that it reads from the environment, and its launcher.

A request goes through api.request_body, api.requests, the predictor and api.responses; observability counts and logs
it. Only sagemaker may import the stage train_model, and only inside a function. Nothing here imports TensorFlow.
"""
