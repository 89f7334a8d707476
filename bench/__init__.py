"""Benchmarks of the project and its peers, on the weights of one trained version.

A benchmark may import any module of the project; no module imports a benchmark. The packages of the peers (TensorFlow,
PyTorch, Transformers, ONNX Runtime) are in bench/requirements.txt. Only the processes that --peers-python starts
import them.
"""
