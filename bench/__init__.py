"""Measurements against what a user would pick instead, on the weights of one trained version.

It may import anything of the project; nothing imports it. What only the others need (TensorFlow, PyTorch,
Transformers, ONNX Runtime) is in bench/requirements.txt, is installed elsewhere, and is imported only in the
processes that --peers-python starts.
"""
