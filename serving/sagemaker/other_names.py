"""Names of hyperparameters that jobs of an earlier SageMaker container for BERT use."""

from collections.abc import Mapping
from typing import Any

from textclf.errors import ConfigError

# Their name -> ours.
SYNONYMS = {
    "n_epochs": "epochs",
    "learning_rate": "init_lr",
    "dropout_prob": "dropout",
    "max_sentence_length": "max_length",
    "max_epochs_without_improvement": "patience",
}
# Their name -> why it has no effect.
IGNORED = {
    "n_classes": "the labels of the data decide",
    "n_hidden": "the classification layer has no hidden layer",
    "n_layers": "the classification layer has no hidden layer",
    "embeddings_grad": "fine-tuning trains every layer; epochs 0 with head_init probe trains none of the encoder",
    "quantize": "the engine is int8 unless that changes its labels",
    "verbose": "the log is always the same",
}
# Rules by which that container measured the length on the texts.
_MEASURED_LENGTHS = ("mean", "max", "most")


def translated(given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The hyperparameters under our names, and a note about each name that is not ours.

    Raises:
        ConfigError: if a hyperparameter is given by both names.
    """
    values, notes = dict(given), []
    for name in given:
        if name in IGNORED:
            del values[name]
            notes.append(f"hyperparameter {name} is ignored: {IGNORED[name]}")
        elif name == "max_sentence_length" and str(given[name]).strip('" ') in _MEASURED_LENGTHS:
            del values[name]
            notes.append(f"hyperparameter {name} is ignored: max_length is a number of wordpieces")
        elif name in SYNONYMS:
            ours = SYNONYMS[name]
            if ours in given:
                raise ConfigError(f"{name}: expected it without {ours}, which means the same, got both; remove one")
            values[ours] = values.pop(name)
            notes.append(f"hyperparameter {name} is read as {ours}")
    return values, tuple(notes)
