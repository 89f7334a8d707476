"""What was predicted becomes rows of the prediction log, in the background."""
