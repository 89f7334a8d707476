"""Optimisers by name, with a linear warmup and a linear decay to zero."""

from collections.abc import Callable, Sequence

from textclf.errors import ConfigError
from textclf.graph.bert_weights import layer_of
from textclf.training.fitting.adamw import AdamW
from textclf.training.tf_setup import tf_keras

_KERAS = {"adam": "Adam", "adamax": "Adamax", "adagrad": "Adagrad", "rmsprop": "RMSprop", "sgd": "SGD"}
OPTIMISERS = ("adamw", "lamb", *_KERAS)


def check_optimiser(name: str) -> str:
    """The name in lower case.

    Raises:
        ConfigError: if the name is unknown.
    """
    if name.lower() not in OPTIMISERS:
        raise ConfigError(f"optimiser: expected one of {', '.join(OPTIMISERS)}, got {name!r}")
    return name.lower()


def make_optimiser(
    name: str, init_lr: float, steps: int, warmup_steps: int, factor_of: Callable[[str], float] = lambda _: 1.0
) -> tf_keras.optimizers.legacy.Optimizer:
    """The optimiser `name` for a training of `steps` steps, including `warmup_steps` with a rising rate.

    `factor_of` maps a variable's name to the factor of its rate; only "adamw" uses it.

    Raises:
        ConfigError: if the name is unknown.
    """
    from official.nlp import optimization

    name = check_optimiser(name)
    if name == "lamb":  # With weight decay 0.01, except for biases and layer norms.
        return optimization.create_optimizer(init_lr, steps, warmup_steps, optimizer_type=name)
    schedule = tf_keras.optimizers.schedules.PolynomialDecay(init_lr, steps, end_learning_rate=0.0)
    if warmup_steps:
        schedule = optimization.WarmUp(init_lr, schedule, warmup_steps)
    if name == "adamw":
        return AdamW(schedule, factor_of)
    # The gradient norm is clipped to 1, as for AdamW (Devlin et al. 2019).
    return getattr(tf_keras.optimizers.legacy, _KERAS[name])(learning_rate=schedule, global_clipnorm=1.0)


def layer_factors(variables: Sequence[str], decay: float) -> Callable[[str], float]:
    """Layer-wise decay: a function from a variable's name to the factor of its learning rate.

    The factor is 1 above the encoder's layers, `decay` for the highest layer, its square for the next, and so on; the
    embeddings are the lowest (Howard and Ruder 2018, Universal language model fine-tuning, "discriminative").

    Args:
        variables: names of all variables, to count the layers.
        decay: above 0, at most 1.

    Raises:
        ConfigError: if `decay` is not 1 and no variable belongs to a layer.
    """
    layers = 1 + max((layer for name in variables if (layer := layer_of(name)) is not None), default=-1)
    if layers == 0 and decay != 1:
        raise ConfigError(
            f"layer_decay: expected 1 for an encoder whose layers are not called transformer/layer_N, got {decay}"
        )

    def factor_of(name: str) -> float:
        layer = layer_of(name)
        if layer is None:
            return decay ** (layers + 1) if "embedding" in name else 1.0
        return float(decay ** (layers - layer))

    return factor_of
