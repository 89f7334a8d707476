"""The first host of a training: reads the data, plans the batches, evaluates, and lets the workers share each step.

B: batch, S: sequence length, K: classes.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from textclf.cluster import Cluster
from textclf.config import ModelOptions, TrainingOptions
from textclf.errors import TrainingError
from textclf.training.distributed.frames import MAX_SILENCE_SECONDS, Connection
from textclf.training.distributed.gradients import FloatVector, SplitStep
from textclf.training.distributed.joining import (
    connect,
    join_ring,
    listening,
    name_of,
    new_session,
)
from textclf.training.distributed.parts import split_batch
from textclf.training.distributed.ring import Ring
from textclf.training.fitting.training_loop import Trainer, planned_optimiser
from textclf.training.tf_setup import tf_keras

IdArray = npt.NDArray[np.int32]


class Team:
    """The chief with its workers.

    Args:
        cluster: the hosts; this one is the chief.
        workers: connections to the others, in the order of their ranks.
        ring: sums the gradients.
    """

    def __init__(self, cluster: Cluster, workers: Sequence[Connection], ring: Ring) -> None:
        self._cluster = cluster
        self._workers = workers
        self._ring = ring

    def trainer(
        self,
        model: tf_keras.Model,
        model_options: ModelOptions,
        class_names: Sequence[str],
        options: TrainingOptions,
        steps: int,
        precision: str,
        products: str,
        tokens: float,
    ) -> Trainer:
        """A trainer whose steps and evaluations all hosts share.

        Args:
            model: the model to fit, ids -> logits.
            model_options, class_names: from which each worker builds the same model.
            options, steps, precision: as for textclf.training.fitting.training_loop.make_trainer() and fit().
            products, tokens: precision of matrix products and tokens of all epochs, as for trainable_classifier().

        Raises:
            TrainingError: if a worker can't build the model.
        """
        job = {
            "model": model_options.to_dict(),
            "class_names": list(class_names),
            "training": options.to_dict(),
            "steps": steps,
            "precision": precision,
            "products": products,
            "tokens": tokens,
            "graph": model.name,
        }
        for worker in self._workers:
            worker.send({"kind": "build", "job": job})
        optimiser = planned_optimiser(model, options, steps)
        part = SplitStep(model, optimiser, options.r_drop, precision)
        for worker in self._workers:
            answer, _ = worker.receive()
            if "error" in answer:
                raise TrainingError(f"{worker.name}: {answer['error']}")
        shared = _SharedModel(self._cluster, self._workers, self._ring, part)
        return Trainer(optimiser, shared.step, steps, shared.logits, shared.synchronise)

    def end(self) -> None:
        """Tell the workers that the training is done."""
        for worker in self._workers:
            worker.send({"kind": "end"})


class _SharedModel:
    def __init__(self, cluster: Cluster, workers: Sequence[Connection], ring: Ring, part: SplitStep) -> None:
        self._cluster = cluster
        self._workers = workers
        self._ring = ring
        self._part = part

    def synchronise(self) -> None:
        """Send all variables to the workers."""
        values = self._part.values()
        for worker in self._workers:
            worker.send({"kind": "variables"}, values)

    def step(
        self, word_ids: IdArray, mask: IdArray, targets: FloatVector, weights: FloatVector, scale: np.float32
    ) -> float:
        """Train on one batch; return its mean loss."""
        for worker in self._workers:
            worker.send({"kind": "step", "scale": float(scale)}, [word_ids, mask, targets, weights])
        pieces = split_batch(mask.sum(axis=1), self._cluster.size)[0]
        total = self._part.gradient(pieces, word_ids, mask, targets, weights, float(scale))
        self._ring.all_reduce(total)
        return self._part.update(total)

    def logits(self, word_ids: IdArray, mask: IdArray) -> FloatVector:
        """Logits of a batch, float32 [B, K]; each host computes some of them."""
        parts = split_batch(mask.sum(axis=1), self._cluster.size)
        for worker, pieces in zip(self._workers, parts[1:], strict=True):
            for piece in pieces:
                worker.send({"kind": "logits"}, [piece.tokens_of(word_ids), piece.tokens_of(mask)])
        rows: list[npt.NDArray[np.intp]] = []
        found: list[FloatVector] = []
        for piece in parts[0]:
            rows.append(piece.rows)
            found.append(self._part.logits(piece.tokens_of(word_ids), piece.tokens_of(mask)).numpy())
        for worker, pieces in zip(self._workers, parts[1:], strict=True):
            for piece in pieces:
                _, (values,) = worker.receive()
                rows.append(piece.rows)
                found.append(values)
        values = np.concatenate(found)
        result = np.empty_like(values)
        result[np.concatenate(rows)] = values
        return result


@contextmanager
def led_team(cluster: Cluster) -> Iterator[Team]:
    """Connect to the workers of a cluster; at the end of the block the connections close, which ends the workers.

    Raises:
        TrainingError: if a worker is missing, refuses, or is lost.
    """
    session = new_session(cluster)
    workers: list[Connection] = []
    with listening(cluster) as listener:
        try:
            for rank in range(1, cluster.size):
                click.echo(f"hosts:         waiting for {name_of(cluster, rank)} …", err=True)
                has_ended = partial(cluster.has_ended, rank)
                workers.append(connect(cluster.addresses[rank], name_of(cluster, rank), has_ended))
                workers[-1].set_timeout(MAX_SILENCE_SECONDS)
                workers[-1].send({"kind": "hello", "rank": rank, "session": dataclasses.asdict(session)})
                _check_hello(workers[-1], workers[-1].receive()[0])
            for worker in workers:
                worker.send({"kind": "join"})
            ring = join_ring(cluster, session.key, listener)
            click.echo(f"hosts:         {cluster.size}, {', '.join(cluster.addresses)}", err=True)
            try:
                team = Team(cluster, workers, ring)
                yield team
                team.end()
            finally:
                ring.close()
        finally:
            for worker in workers:
                worker.close()


def _check_hello(worker: Connection, answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise TrainingError(f"{worker.name}: {answer['error']}")
