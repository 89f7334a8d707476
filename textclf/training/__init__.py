"""From a handle and a dataset to trained weights: encoders, preprocessing, batches, the fitting loop.

Import textclf.training.tf_setup before anything else of TensorFlow.
"""
