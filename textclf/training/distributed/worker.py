"""Another host of a training than the chief: computes its part of each batch until the chief says that it is done."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import numpy as np

from textclf import __version__
from textclf.cluster import Cluster
from textclf.config import ModelOptions, TrainingOptions
from textclf.errors import TextClfError, TrainingError
from textclf.training.distributed.frames import Connection
from textclf.training.distributed.gradients import SplitStep
from textclf.training.distributed.joining import accept, join_ring, listening, name_of
from textclf.training.distributed.parts import split_batch
from textclf.training.distributed.ring import Ring
from textclf.training.fitting.training_loop import planned_optimiser
from textclf.training.fused_bert.trainable_classifier import trainable_classifier
from textclf.training.precision import graph_precision
from textclf.training.tf_setup import tf_keras

# Model options, class names and seed -> the Keras model from strings to logits.
BuildClassifier = Callable[[ModelOptions, Sequence[str], int], tf_keras.Model]
# The job of Team.trainer() and the rank of this host -> its model.
Build = Callable[[Mapping[str, Any], int], SplitStep]


def model_builder(build_classifier: BuildClassifier) -> Build:
    """A function that builds the model of a job."""

    def build(job: Mapping[str, Any], rank: int) -> SplitStep:
        options, model_options = TrainingOptions(**job["training"]), ModelOptions(**job["model"])
        # Each rank has another seed, so that dropout differs.
        seed = (options.seed + rank) % 2**32
        classifier = build_classifier(model_options, job["class_names"], seed)
        model = trainable_classifier(classifier, model_options.dropout, job["products"], seed, job["tokens"])
        if model.name != job["graph"]:
            raise TrainingError(
                f"expected the graph {job['graph']}, as on the chief, got {model.name}; use the same encoder and the "
                f"same version of TensorFlow on all hosts"
            )
        return SplitStep(model, planned_optimiser(model, options, job["steps"]), options.r_drop, job["precision"])

    return build


def work(cluster: Cluster, build: Build) -> int:
    """Serve the chief of one training; return the number of steps.

    Args:
        cluster: the hosts; this one is not the chief.
        build: from model_builder().

    Raises:
        TrainingError: if the address can't be bound, the chief is lost, or the model can't be built here.
    """
    with listening(cluster) as listener:
        click.echo(
            f"hosts:         rank {cluster.rank}, waits for the chief at {cluster.addresses[cluster.rank]}", err=True
        )
        chief, hello = accept(listener, _is_hello, name_of(cluster, 0), None)
        try:
            reason = _why_refused(cluster, hello)
            chief.send({"error": reason} if reason else {"kind": "ready"})
            if reason:
                raise TrainingError(reason)
            chief.receive()  # "join", when all workers listen.
            ring = join_ring(cluster, hello["session"]["key"], listener)
            try:
                return _Worker(cluster, chief, ring, build).run()
            finally:
                ring.close()
        finally:
            chief.close()


class _Worker:
    def __init__(self, cluster: Cluster, chief: Connection, ring: Ring, build: Build) -> None:
        self._cluster = cluster
        self._chief = chief
        self._ring = ring
        self._build = build
        self._steps = 0
        self._part: SplitStep  # After the message "build".

    def run(self) -> int:
        """Do what the chief says until it is done; return the number of steps."""
        while True:
            fields, arrays = self._chief.receive()
            match fields["kind"]:
                case "build":
                    self._answer_build(fields["job"])
                case "variables":
                    self._part.assign(arrays)
                case "step":
                    self._step(fields["scale"], *arrays)
                case "logits":
                    # As on the chief, see predict_logits().
                    with graph_precision("float32"):
                        self._chief.send({}, [np.asarray(self._part.logits(*arrays))])
                case _:
                    click.echo(
                        f"hosts:         rank {self._cluster.rank} is done after {self._steps:,} steps", err=True
                    )
                    return self._steps

    def _answer_build(self, job: dict[str, Any]) -> None:
        try:
            self._part = self._build(job, self._cluster.rank)
        except TextClfError as error:
            self._chief.send({"error": str(error)})
            raise
        self._chief.send({"kind": "built"})

    def _step(self, scale: float, *batch: Any) -> None:
        word_ids, mask, targets, weights = batch
        pieces = split_batch(mask.sum(axis=1), self._cluster.size)[self._cluster.rank]
        total = self._part.gradient(pieces, word_ids, mask, targets, weights, scale)
        self._ring.all_reduce(total)
        self._part.update(total)
        self._steps += 1


def _is_hello(fields: dict[str, Any]) -> bool:
    return fields.get("kind") == "hello" and isinstance(fields.get("session"), dict)


def _why_refused(cluster: Cluster, hello: dict[str, Any]) -> str:
    session, rank = hello["session"], hello.get("rank")
    for name, ours, theirs in (
        ("the addresses", list(cluster.addresses), session.get("addresses")),
        ("the rank", cluster.rank, rank),
        ("textclf", __version__, session.get("version")),
    ):
        if ours != theirs:
            return f"expected {name} {ours!r}, got {theirs!r} from the chief; give the same command on all hosts"
    return ""
