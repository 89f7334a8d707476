"""Training on several hosts: each computes the gradient of a part of every batch (docs/training.md)."""
