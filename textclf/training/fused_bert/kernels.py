"""The operations of a BERT layer between its matrix products, forward and backward, each as one pass over memory.

TensorFlow runs a GELU as eight operations, each of which reads and writes the whole tensor; on a CPU with fast matrix
units that takes longer than the products. XLA fuses them into one loop. It compiles a kernel for each new shape in a
few hundredths of a second.

Activations are in `dtype`, the type of the products; sums are in float32.
B: batch, S: sequence length, Q: queries, A: heads, D: width of a head, T: rows (tokens of all texts), H: width.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from textclf.training.tf_setup import tf

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def _kernel(function: _Kernel) -> _Kernel:
    compiled: _Kernel = tf.function(function, jit_compile=True, autograph=False)
    return compiled


def keep_factors(shape: tf.Tensor, seed: tf.Tensor, rate: float) -> tf.Tensor:
    """Dropout factors, float32: 0 for about `rate` of the elements, 1 / (1 - rate) for the others.

    A function of position and seed: the backward pass computes the same factors again, and so does a resumed training.
    The position is hashed (the finaliser of MurmurHash3, Appleby 2011). XLA fuses that into the loop that uses it;
    TensorFlow's random numbers take longer than the rest of a layer's dropout.

    Args:
        shape: shape of the factors, int32 [dimensions].
        seed: random seed, uint32 scalar.
        rate: dropout rate, at least 0 and below 1.
    """
    shift, differ = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    # A Weyl sequence: otherwise seeds that differ by one would give the same numbers, shifted by one.
    seed = seed * tf.constant(0x9E3779B9, tf.uint32)
    seed = differ(seed, shift(seed, tf.constant(15, tf.uint32)))
    bits = differ(tf.cast(tf.range(tf.reduce_prod(shape)), tf.uint32), seed)
    bits = differ(bits, shift(bits, tf.constant(16, tf.uint32))) * tf.constant(0x85EBCA6B, tf.uint32)
    bits = differ(bits, shift(bits, tf.constant(13, tf.uint32))) * tf.constant(0xC2B2AE35, tf.uint32)
    bits = differ(bits, shift(bits, tf.constant(16, tf.uint32)))
    kept = bits >= tf.constant(int(rate * 2**32), tf.uint32)
    return tf.reshape(tf.where(kept, 1.0 / (1.0 - rate), 0.0), shape)


@_kernel
def dropped_out(values: tf.Tensor, seed: tf.Tensor, rate: float) -> tf.Tensor:
    """Dropout of float32 values of any shape; for its gradient, apply it to the gradient."""
    return values * keep_factors(tf.shape(values), seed, rate)


@_kernel
def activated(inner: tf.Tensor, bias: tf.Tensor, activation: str, dtype: tf.DType) -> tf.Tensor:
    """activation(inner + bias), [T, inner]."""
    return tf.cast(_activation(_float(inner) + bias, activation)[0], dtype)


@_kernel
def activation_gradient(
    inner: tf.Tensor, bias: tf.Tensor, gradient: tf.Tensor, activation: str, dtype: tf.DType
) -> tf.Tensor:
    """The gradient of inner + bias, [T, inner], from the gradient of activated()."""
    return tf.cast(_float(gradient) * _activation(_float(inner) + bias, activation)[1], dtype)


def _activation(x: tf.Tensor, activation: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The function, one of textclf.graph.bert_weights.ACTIVATIONS, and its derivative.

    GELU is x times the normal distribution function (Hendrycks and Gimpel 2016), exact or in its tanh form; half of
    1 + tanh(z) is the logistic function of 2 z.
    """
    if activation == "relu":
        return tf.nn.relu(x), tf.cast(x > 0, tf.float32)
    if activation == "gelu_erf":
        share = 0.5 * (1.0 + tf.math.erf(x / math.sqrt(2)))
        return x * share, share + x * tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    slope, cubic = 2 * math.sqrt(2 / math.pi), 0.044715
    share = tf.sigmoid(slope * x * (1.0 + cubic * x * x))
    return x * share, share + x * share * (1.0 - share) * slope * (1.0 + 3 * cubic * x * x)


@_kernel
def normed(
    output: tf.Tensor,
    bias: tf.Tensor,
    residual: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    seed: tf.Tensor,
    rate: float,
    dtype: tf.DType,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """layer_norm(residual + dropout(output + bias)), [T, H], as float32 and as `dtype`.

    Also returns the values before gamma and beta, in `dtype`, and 1 / standard deviation, [T, 1], for norm_gradients().
    """
    output = _float(output) + bias
    if rate:
        output *= keep_factors(tf.shape(output), seed, rate)
    values = residual + output
    centred = values - tf.reduce_mean(values, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(centred * centred, -1, keepdims=True) + epsilon)
    normal = centred * inverse
    result = normal * gamma + beta
    return result, tf.cast(result, dtype), tf.cast(normal, dtype), inverse


@_kernel
def norm_gradients(
    gradient: tf.Tensor,
    more: tf.Tensor,
    normal: tf.Tensor,
    inverse: tf.Tensor,
    gamma: tf.Tensor,
    seed: tf.Tensor,
    rate: float,
    dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The gradients of residual, output, bias, gamma and beta, from that of normed(), gradient + more, [T, H]."""
    gradient, normal = gradient + _float(more), _float(normal)
    scaled = gradient * gamma
    mean, along = tf.reduce_mean(scaled, -1, keepdims=True), tf.reduce_mean(scaled * normal, -1, keepdims=True)
    of_residual = inverse * (scaled - mean - normal * along)
    of_output = of_residual
    if rate:
        of_output *= keep_factors(tf.shape(of_output), seed, rate)
    return (
        of_residual,
        tf.cast(of_output, dtype),
        tf.reduce_sum(of_output, 0),
        tf.reduce_sum(gradient * normal, 0),
        tf.reduce_sum(gradient, 0),
    )


@_kernel
def exponentials(scores: tf.Tensor, mask: tf.Tensor, shift: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """exp(scores + mask - shift), [B, A, Q, S]: attention before the division by its sums."""
    return tf.cast(tf.exp(_float(scores) + mask - shift), dtype)


@_kernel
def score_gradients(
    exponentials: tf.Tensor, inverse_sums: tf.Tensor, gradient: tf.Tensor, along: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """The gradient of the scores from that of the attention, [B, A, Q, S].

    `along` [B, A, Q, 1] is the scalar product of the attention and its gradient. It equals the product of the attention
    output and its gradient, which is S / D times shorter (Dao et al. 2022, FlashAttention, appendix B.2).
    """
    return tf.cast(_float(exponentials) * inverse_sums * (_float(gradient) - along), dtype)


@_kernel
def scaled(values: tf.Tensor, factors: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """values * factors, where factors are float32."""
    return tf.cast(_float(values) * factors, dtype)


@_kernel
def row_products(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Scalar products along the last axis, float32 […, 1]."""
    return tf.reduce_sum(_float(one) * _float(other), -1, keepdims=True)


@_kernel
def column_sums(values: tf.Tensor) -> tf.Tensor:
    """[T, H] -> float32 [H]."""
    return tf.reduce_sum(_float(values), 0)


def _float(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32)
