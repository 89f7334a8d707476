"""One fused layer of a BERT encoder with its gradient, for training on a CPU.

Products are in `dtype`; residuals, layer norms and weights are in float32. The backward pass keeps only the tensors
that it needs, and the operations between two products are one kernel. The softmax is never stored: exponentials are
divided by their sums after the product with the values, which is D / S times as large.

B: batch, S: sequence length, Q: queries (S, or 1 for [CLS] alone), H: width, A: heads, D = H / A, T: rows.

References: Devlin et al. 2019, BERT, section 3; Vaswani et al. 2017, Attention is all you need; Dao et al. 2022,
FlashAttention (the gradient of attention).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from textclf.graph.bert_weights import LAYER_NORM_EPSILON
from textclf.training.fused_bert import kernels as kernels
from textclf.training.tf_setup import tf

# exp() of more than 88 is infinite in float32. The backward pass divides gradients by the sums of exponentials: at 70 a
# gradient of 1e-7 would become 0, because numbers end at 1e-38.
_MAX_SCORE = 50.0
# Makes the seed of the second dropout of a layer.
_SECOND_PLACE = 0x51ED270B


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer as float32 tensors, kernels as matrices [in, out].

    Attributes:
        query_kernel, query_bias: [H, H], [H].
        key_value_kernel, key_value_bias: key, then value: [H, 2H], [2H].
        output_kernel, output_bias, output_gamma, output_beta: attention output and the norm after it.
        inner_kernel, inner_bias: first feed-forward product, [H, inner], [inner].
        outer_kernel, outer_bias, outer_gamma, outer_beta: second one, [inner, H], and the norm after it.
    """

    query_kernel: tf.Tensor
    query_bias: tf.Tensor
    key_value_kernel: tf.Tensor
    key_value_bias: tf.Tensor
    output_kernel: tf.Tensor
    output_bias: tf.Tensor
    output_gamma: tf.Tensor
    output_beta: tf.Tensor
    inner_kernel: tf.Tensor
    inner_bias: tf.Tensor
    outer_kernel: tf.Tensor
    outer_bias: tf.Tensor
    outer_gamma: tf.Tensor
    outer_beta: tf.Tensor


@dataclass(frozen=True)
class LayerConfig:
    """The settings of a layer. Attention has no dropout.

    Attributes:
        heads: number of heads, A.
        activation: one of textclf.graph.bert_weights.ACTIVATIONS.
        rate: dropout rate after both halves; 0 is without.
        dtype: type of the products.
        epsilon: added to the variance in layer normalisation.
        first_only: compute only the first token, [CLS]: Q = 1.
    """

    heads: int
    activation: str
    rate: float
    dtype: tf.DType
    epsilon: float = LAYER_NORM_EPSILON
    first_only: bool = False


def bert_layer(x: tf.Tensor, mask: tf.Tensor, weights: LayerWeights, config: LayerConfig, seed: tf.Tensor) -> tf.Tensor:
    """A layer's output, float32 [B * Q, H].

    Args:
        x: the layer's input, float32 [B * S, H].
        mask: added to the scores, float32 [B, 1, 1, S].
        weights, config: weights and settings of the layer.
        seed: random seed of dropout, uint32 scalar.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(x: tf.Tensor, *tensors: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        return _forward(x, mask, LayerWeights(*tensors), config, seed)

    output: tf.Tensor = run(x, *(getattr(weights, item.name) for item in fields(LayerWeights)))
    return output


def _forward(
    x: tf.Tensor, mask: tf.Tensor, w: LayerWeights, config: LayerConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """The output, and a function from its gradient to the gradients of x and of the weights."""
    dtype, rate = config.dtype, config.rate
    batch, length = tf.shape(mask)[0], tf.shape(mask)[3]
    width = w.output_kernel.shape[0]
    depth = width // config.heads
    scale = depth**-0.5  # The scores' factor, applied to the query.
    seeds = (seed, tf.bitwise.bitwise_xor(seed, tf.constant(_SECOND_PLACE, tf.uint32)))

    def low(values: tf.Tensor) -> tf.Tensor:
        return tf.cast(values, dtype)

    def split(rows: tf.Tensor) -> tf.Tensor:
        """[B * Q, H] -> [B, A, Q, D]."""
        return tf.transpose(tf.reshape(rows, [batch, -1, config.heads, depth]), [0, 2, 1, 3])

    def merged(values: tf.Tensor) -> tf.Tensor:
        """[B, A, Q, D] -> [B * Q, H]."""
        return tf.reshape(tf.transpose(values, [0, 2, 1, 3]), [-1, width])

    queried = tf.reshape(x, [batch, length, width])[:, 0] if config.first_only else x
    low_x, low_queried = low(x), low(queried)
    query_kernel, key_value_kernel = low(w.query_kernel * scale), low(w.key_value_kernel)
    output_kernel, inner_kernel, outer_kernel = low(w.output_kernel), low(w.inner_kernel), low(w.outer_kernel)

    query = split(tf.nn.bias_add(low_queried @ query_kernel, low(w.query_bias * scale)))
    key, value = map(split, tf.split(tf.nn.bias_add(low_x @ key_value_kernel, low(w.key_value_bias)), 2, -1))
    scores = tf.matmul(query, key, transpose_b=True)
    weighed = kernels.exponentials(scores, mask, _shift(scores, mask, query, key), dtype)
    # A column of ones next to the values, so that the same product sums up the exponentials.
    attended = tf.matmul(weighed, tf.concat([value, tf.ones_like(value[..., :1])], -1))
    inverse_sums = 1.0 / tf.cast(attended[..., depth:], tf.float32)
    attended = kernels.scaled(attended[..., :depth], inverse_sums, dtype)
    context = merged(attended)
    middle, low_middle, middle_normal, middle_inverse = kernels.normed(
        context @ output_kernel,
        w.output_bias,
        queried,
        w.output_gamma,
        w.output_beta,
        seeds[0],
        rate,
        dtype,
        config.epsilon,
    )
    inner = low_middle @ inner_kernel
    active = kernels.activated(inner, w.inner_bias, config.activation, dtype)
    output, _, normal, inverse = kernels.normed(
        active @ outer_kernel,
        w.outer_bias,
        middle,
        w.outer_gamma,
        w.outer_beta,
        seeds[1],
        rate,
        dtype,
        config.epsilon,
    )

    def backward(gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
        of_middle, of_outer, outer_bias, outer_gamma, outer_beta = kernels.norm_gradients(
            gradient, tf.zeros([], dtype), normal, inverse, w.outer_gamma, seeds[1], rate, dtype
        )
        of_active = tf.matmul(of_outer, outer_kernel, transpose_b=True)
        of_inner = kernels.activation_gradient(inner, w.inner_bias, of_active, config.activation, dtype)
        of_queried, of_output, output_bias, output_gamma, output_beta = kernels.norm_gradients(
            of_middle, tf.matmul(of_inner, inner_kernel, transpose_b=True), middle_normal, middle_inverse,
            w.output_gamma, seeds[0], rate, dtype,
        )  # fmt: skip
        of_attended = split(tf.matmul(of_output, output_kernel, transpose_b=True))
        of_scores = kernels.score_gradients(
            weighed,
            inverse_sums,
            tf.matmul(of_attended, value, transpose_b=True),
            kernels.row_products(of_attended, attended),
            dtype,
        )
        of_query = merged(of_scores @ key)
        of_key = merged(tf.matmul(of_scores, query, transpose_a=True))
        of_value = merged(tf.matmul(weighed, kernels.scaled(of_attended, inverse_sums, dtype), transpose_a=True))
        of_key_value = tf.concat([of_key, of_value], -1)
        of_queried += tf.cast(tf.matmul(of_query, query_kernel, transpose_b=True), tf.float32)
        of_x = tf.cast(tf.matmul(of_key_value, key_value_kernel, transpose_b=True), tf.float32)
        if config.first_only:
            others = tf.zeros([batch, length - 1, width])
            of_queried = tf.reshape(tf.concat([of_queried[:, None], others], 1), [-1, width])
        of_weights = LayerWeights(
            query_kernel=_product(low_queried, of_query) * scale,
            query_bias=kernels.column_sums(of_query) * scale,
            key_value_kernel=_product(low_x, of_key_value),
            key_value_bias=kernels.column_sums(of_key_value),
            output_kernel=_product(context, of_output),
            output_bias=output_bias,
            output_gamma=output_gamma,
            output_beta=output_beta,
            inner_kernel=_product(low_middle, of_inner),
            inner_bias=kernels.column_sums(of_inner),
            outer_kernel=_product(active, of_outer),
            outer_bias=outer_bias,
            outer_gamma=outer_gamma,
            outer_beta=outer_beta,
        )
        return (of_queried + of_x, *(getattr(of_weights, item.name) for item in fields(LayerWeights)))

    return output, backward


def _shift(scores: tf.Tensor, mask: tf.Tensor, query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """The number to subtract from each row of the scores so that exp() is finite, float32 [B, A, Q, 1].

    It is 0 unless scores may be large, to save the pass over them that finds the largest. No score is larger than the
    product of the norms of query and key (Cauchy and Schwarz), which are S / D times fewer.
    """
    bound = tf.reduce_max(_norms(query)) * tf.reduce_max(_norms(key))

    def largest() -> tf.Tensor:
        return tf.reduce_max(tf.cast(scores, tf.float32) + mask, -1, keepdims=True)

    return tf.cond(bound > _MAX_SCORE, largest, lambda: tf.zeros([*tf.unstack(tf.shape(scores)[:3]), 1]))


def _norms(values: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(kernels.row_products(values, values))


def _product(inputs: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """The gradient of a kernel, float32 [in, out], from its inputs [T, in] and its outputs' gradients [T, out]."""
    return tf.cast(tf.matmul(inputs, gradients, transpose_a=True), tf.float32)
