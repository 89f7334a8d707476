"""Versions as folders for other software: the Hugging Face library and ONNX."""
