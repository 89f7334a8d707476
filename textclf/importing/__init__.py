"""Classifiers of the Hugging Face library as model versions, without TensorFlow and PyTorch."""
