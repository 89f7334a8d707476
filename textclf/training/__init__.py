"""From a handle and a dataset to trained weights: encoders, preprocessing, batches, the fitting loop.

The only folder here that imports TensorFlow; import textclf.training.tf_setup before anything else of it.
May import the hall, data/, runtime/, stats/ and report/; never a stage.
"""
