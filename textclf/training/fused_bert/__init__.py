"""BERT as a fused graph for training on CPUs, with gradients by hand."""
