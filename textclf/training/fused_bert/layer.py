"""One layer of a BERT encoder, with its gradient written out, for training on a CPU.

The products are in `dtype`; the stream of residuals, the layer norms and the weights are in float32. Written out, the
way back keeps no more than it needs, runs what lies between two products as one kernel, and never stores the softmax:
attention is kept as exponentials and divided by their sums behind the next product, where it is D / S times as large.

B: batch, S: sequence length, Q: rows that are asked for (S, or 1 for [CLS] alone), H: width, A: heads, D = H / A.

References: Devlin et al. 2019, BERT, section 3; Vaswani et al. 2017, Attention is all you need; Dao et al. 2022,
FlashAttention (the gradient of attention).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from textclf.training.fused_bert import kernels as kernels
from textclf.training.tf_setup import tf

# exp() of more than 88 is not finite in float32. And on the way back the gradient of what was attended to is divided by
# the sums: at 70 a gradient of 1e-7 would be 0, as numbers end at 1e-38.
_LARGEST_SCORE = 50.0
# Of the seeds of a layer's two places with dropout.
_SECOND_PLACE = 0x51ED270B


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer as float32 tensors, kernels as matrices [in, out].

    Attributes:
        query_kernel, query_bias, key_value_kernel, memory_bias: [H, H], [H] and, key beside value, [H, 2H], [2H].
        output_kernel, output_bias, output_gamma, output_beta: of the attention's output and the norm behind it.
        inner_kernel, inner_bias: of the feed-forward part, [H, inner].
        outer_kernel, outer_bias, outer_gamma, outer_beta: [inner, H], and of the norm behind it.
    """

    query_kernel: tf.Tensor
    query_bias: tf.Tensor
    key_value_kernel: tf.Tensor
    memory_bias: tf.Tensor
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
    """What a layer is besides its weights. Attention has no dropout.

    Attributes:
        heads: A.
        activation: one of textclf.training.encoders.bert_weights.ACTIVATIONS.
        rate: of dropout behind both halves; 0 for none.
        dtype: of the products.
        first_only: only the first token, [CLS], is asked for: Q = 1.
    """

    heads: int
    activation: str
    rate: float
    dtype: tf.DType
    first_only: bool = False


def bert_layer(x: tf.Tensor, mask: tf.Tensor, weights: LayerWeights, form: LayerConfig, seed: tf.Tensor) -> tf.Tensor:
    """A layer's output, float32 [B * Q, H].

    Args:
        x: float32 [B * S, H].
        mask: added to the scores, float32 [B, 1, 1, S].
        weights, form: see there.
        seed: uint32 scalar, of dropout.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(x: tf.Tensor, *tensors: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        return _forward(x, mask, LayerWeights(*tensors), form, seed)

    output: tf.Tensor = run(x, *(getattr(weights, item.name) for item in fields(LayerWeights)))
    return output


def _forward(
    x: tf.Tensor, mask: tf.Tensor, w: LayerWeights, form: LayerConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """The output, and the function from its gradient to those of x and of the weights."""
    dtype, rate = form.dtype, form.rate
    batch, length = tf.shape(mask)[0], tf.shape(mask)[3]
    width = w.output_kernel.shape[0]
    depth = width // form.heads
    scale = depth**-0.5  # Of the scores; the query brings it along.
    seeds = (seed, tf.bitwise.bitwise_xor(seed, tf.constant(_SECOND_PLACE, tf.uint32)))

    def low(values: tf.Tensor) -> tf.Tensor:
        return tf.cast(values, dtype)

    def split(rows: tf.Tensor) -> tf.Tensor:
        """[B * Q, H] -> [B, A, Q, D]."""
        return tf.transpose(tf.reshape(rows, [batch, -1, form.heads, depth]), [0, 2, 1, 3])

    def merged(values: tf.Tensor) -> tf.Tensor:
        """[B, A, Q, D] -> [B * Q, H]."""
        return tf.reshape(tf.transpose(values, [0, 2, 1, 3]), [-1, width])

    asking = tf.reshape(x, [batch, length, width])[:, 0] if form.first_only else x
    low_x, low_asking = low(x), low(asking)
    query_kernel, key_value_kernel = low(w.query_kernel * scale), low(w.key_value_kernel)
    output_kernel, inner_kernel, outer_kernel = low(w.output_kernel), low(w.inner_kernel), low(w.outer_kernel)

    query = split(tf.nn.bias_add(low_asking @ query_kernel, low(w.query_bias * scale)))
    key, value = map(split, tf.split(tf.nn.bias_add(low_x @ key_value_kernel, low(w.memory_bias)), 2, -1))
    scores = tf.matmul(query, key, transpose_b=True)
    weighed = kernels.exponentials(scores, mask, _shift(scores, mask, query, key), dtype)
    # A column of ones beside the values: the product that adds them up adds the weights up, too.
    attended = tf.matmul(weighed, tf.concat([value, tf.ones_like(value[..., :1])], -1))
    inverse_sums = 1.0 / tf.cast(attended[..., depth:], tf.float32)
    attended = kernels.scaled(attended[..., :depth], inverse_sums, dtype)
    context = merged(attended)
    middle, low_middle, middle_normal, middle_inverse = kernels.normed(
        context @ output_kernel, w.output_bias, asking, w.output_gamma, w.output_beta, seeds[0], rate, dtype
    )
    inner = low_middle @ inner_kernel
    active = kernels.activated(inner, w.inner_bias, form.activation, dtype)
    output, _, normal, inverse = kernels.normed(
        active @ outer_kernel, w.outer_bias, middle, w.outer_gamma, w.outer_beta, seeds[1], rate, dtype
    )

    def backward(gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
        of_middle, of_outer, outer_bias, outer_gamma, outer_beta = kernels.norm_gradients(
            gradient, tf.zeros([], dtype), normal, inverse, w.outer_gamma, seeds[1], rate, dtype
        )
        of_active = tf.matmul(of_outer, outer_kernel, transpose_b=True)
        of_inner = kernels.activation_gradient(inner, w.inner_bias, of_active, form.activation, dtype)
        of_asking, of_output, output_bias, output_gamma, output_beta = kernels.norm_gradients(
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
        of_memory = tf.concat([of_key, of_value], -1)
        of_asking += tf.cast(tf.matmul(of_query, query_kernel, transpose_b=True), tf.float32)
        of_x = tf.cast(tf.matmul(of_memory, key_value_kernel, transpose_b=True), tf.float32)
        if form.first_only:
            others = tf.zeros([batch, length - 1, width])
            of_asking = tf.reshape(tf.concat([of_asking[:, None], others], 1), [-1, width])
        of_weights = LayerWeights(
            query_kernel=_product(low_asking, of_query) * scale,
            query_bias=kernels.column_sums(of_query) * scale,
            key_value_kernel=_product(low_x, of_memory),
            memory_bias=kernels.column_sums(of_memory),
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
        return (of_asking + of_x, *(getattr(of_weights, item.name) for item in fields(LayerWeights)))

    return output, backward


def _shift(scores: tf.Tensor, mask: tf.Tensor, query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """What to subtract from each row of the scores so that none is too large for exp(), float32 [B, A, Q, 1].

    Mostly 0. A softmax usually subtracts the largest score, which takes one more pass over all of them; but no score is
    larger than the norms of query and key multiplied (Cauchy and Schwarz), and these are S / D times fewer.
    """
    bound = tf.reduce_max(_norms(query)) * tf.reduce_max(_norms(key))

    def largest() -> tf.Tensor:
        return tf.reduce_max(tf.cast(scores, tf.float32) + mask, -1, keepdims=True)

    return tf.cond(bound > _LARGEST_SCORE, largest, lambda: tf.zeros([*tf.unstack(tf.shape(scores)[:3]), 1]))


def _norms(values: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(kernels.row_products(values, values))


def _product(inputs: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """The gradient of a kernel, float32 [in, out], from what it multiplied, [T, in], and its output's gradient."""
    return tf.cast(tf.matmul(inputs, gradients, transpose_a=True), tf.float32)
