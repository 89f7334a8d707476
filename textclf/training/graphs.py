"""Functions that run as TensorFlow graphs."""

from collections.abc import Callable
from typing import Any, TypeVar

from textclf.training.tf_setup import tf

_Function = TypeVar("_Function", bound=Callable[..., Any])


def graph_function(*signature: tf.TensorSpec) -> Callable[[_Function], _Function]:
    """Decorate a function: traced once, for tensors of this signature, it runs as a graph.

    tf.function, with the types of what it decorates, and without AutoGraph: `if` and `for` are Python's, also in the
    layers that it calls. None of them depends on a tensor, and translating their sources costs each training seconds.
    """
    decorate: Callable[[_Function], _Function] = tf.function(input_signature=signature, autograph=False)
    return decorate
