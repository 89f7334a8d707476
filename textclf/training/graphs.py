"""Functions that run as TensorFlow graphs."""

from collections.abc import Callable
from typing import Any, TypeVar

from textclf.training.tf_setup import tf

_Function = TypeVar("_Function", bound=Callable[..., Any])


def graph_function(*signature: tf.TensorSpec) -> Callable[[_Function], _Function]:
    """Decorate a function to run as a graph, traced once for tensors of this signature.

    It is tf.function with type hints and without AutoGraph, which would take seconds per training. No `if` or `for` of
    the functions and layers may depend on a tensor.
    """
    decorate: Callable[[_Function], _Function] = tf.function(input_signature=signature, autograph=False)
    return decorate
