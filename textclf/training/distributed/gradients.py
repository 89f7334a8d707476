"""One step in two halves: the gradient of a part of a batch as one vector, and the update by the sum of such vectors.

B: batch, S: sequence length, K: classes, P: trainable weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textclf.training.distributed.parts import Piece
from textclf.training.fitting.training_loop import STEP_ARGUMENTS, ids_to_logits, mean_loss
from textclf.training.graphs import graph_function
from textclf.training.precision import graph_precision
from textclf.training.tf_setup import tf, tf_keras

FloatVector = npt.NDArray[np.float32]


class SplitStep:
    """A model and its optimiser on one host.

    Args:
        model, optimiser: as for the step of one host.
        r_drop: weight of the R-Drop loss.
        precision: "float32" or "bfloat16", the graph_precision() of the gradient.

    Attributes:
        variables: all variables of both, in an order that is the same on each host.
        logits: evaluates the model, see textclf.training.fitting.training_loop.ids_to_logits.
    """

    def __init__(
        self, model: tf_keras.Model, optimiser: tf_keras.optimizers.legacy.Optimizer, r_drop: float, precision: str
    ) -> None:
        self.variables: list[tf.Variable] = [*model.variables, *optimiser.variables()]
        self.logits = ids_to_logits(model)
        self._precision = precision
        trained = model.trainable_variables
        # The position of each variable that has a gradient: those that the loss does not read must not decay.
        self._used: list[int] = []
        loss_of = mean_loss(model, r_drop)

        @graph_function(*STEP_ARGUMENTS)
        def gradient(
            word_ids: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, scale: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = loss_of(word_ids, mask, targets, weights)
                scaled = scale * loss
            gradients = tape.gradient(scaled, trained)
            self._used = [number for number, part in enumerate(gradients) if part is not None]
            flat = [tf.reshape(tf.convert_to_tensor(gradients[number]), [-1]) for number in self._used]
            return tf.concat(flat, 0), loss

        @graph_function(tf.TensorSpec([None], tf.float32))
        def update(vector: tf.Tensor) -> None:
            used = [trained[number] for number in self._used]
            parts = tf.split(vector, [int(np.prod(variable.shape)) for variable in used])
            gradients = [tf.reshape(part, variable.shape) for part, variable in zip(parts, used, strict=True)]
            optimiser.apply_gradients(zip(gradients, used, strict=True))

        self._gradient, self._update = gradient, update
        with graph_precision(precision):
            gradient.get_concrete_function()  # type: ignore[attr-defined]
        self._size = sum(int(np.prod(trained[number].shape)) for number in self._used)

    def gradient(
        self,
        pieces: Sequence[Piece],
        word_ids: npt.NDArray[np.int32],
        mask: npt.NDArray[np.int32],
        targets: FloatVector,
        weights: FloatVector,
        scale: float,
    ) -> FloatVector:
        """The share of `pieces` in the batch's gradient, and in its mean loss as the last element, float32 [P + 1].

        The sum over all pieces of the batch is the gradient of `scale` times its mean loss.
        """
        total = np.zeros(self._size + 1, np.float32)
        with graph_precision(self._precision):
            for piece in pieces:
                share = len(piece.rows) / len(word_ids)
                inputs = piece.tokens_of(word_ids), piece.tokens_of(mask), targets[piece.rows], weights[piece.rows]
                part, loss = self._gradient(*inputs, np.float32(scale * share))
                total[:-1] += part.numpy()
                total[-1] += share * float(loss)
        return total

    def update(self, total: FloatVector) -> float:
        """Change the weights by the sum of gradient() over all hosts; return the mean loss of the batch."""
        with graph_precision(self._precision):
            self._update(total[:-1])
        return float(total[-1])

    def values(self) -> list[npt.NDArray[Any]]:
        """The values of all variables."""
        return [variable.numpy() for variable in self.variables]

    def assign(self, values: Sequence[npt.NDArray[Any]]) -> None:
        """Set all variables.

        Raises:
            ValueError: if a value has another shape than its variable.
        """
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
