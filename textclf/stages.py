"""Names of the stage files, which lie next to this package."""

STAGES = frozenset({"initializing", "make_model", "train_model", "inference", "monitoring", "retraining"})
