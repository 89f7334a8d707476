"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa with a vocabulary of a hundred languages."""

import dataclasses

from textclf.importing.families.roberta import ROBERTA

# The checkpoints keep RoBERTa's module names.
XLM_ROBERTA = dataclasses.replace(ROBERTA, architecture="XLMRobertaForSequenceClassification")
