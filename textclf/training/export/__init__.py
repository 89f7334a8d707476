"""From a trained model to a version: SavedModel, int8 engine, tokenizer and their parity checks."""

from textclf.training.export.tokenizer_parity import tokenizer_differences

__all__ = ["tokenizer_differences"]
