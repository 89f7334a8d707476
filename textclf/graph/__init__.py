"""The inference graph of an encoder: weights by name, the graph for OpenVINO, and its 8-bit form."""
