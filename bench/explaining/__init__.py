"""Explanations next to shap's PartitionExplainer, leave-one-out and random values."""
