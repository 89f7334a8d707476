"""The training loop: batches, losses, optimisers, checkpoints, masked-language pretraining."""
