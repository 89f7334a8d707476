"""Training on several hosts: processes on loopback, each on its own core, against one process on one core.

    python bench/training/hosts.py --hosts 2 --steps 20 --rounds 3

All start from the same weights and read the same batches without dropout. The largest difference of weights at the end
shows that they compute the same. The parts of a step on the chief are timed: the gradient of its part of the batch, the
sum over all hosts, and the update. `--all-reduce` times only the sum, by our ring and by TensorFlow's
MultiWorkerMirroredStrategy, in turns.
"""

import json
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
import numpy.typing as npt

from bench.machine import describe_machine
from textclf.cli.commands import Command
from textclf.cluster import Cluster, tf_config
from textclf.config import ModelOptions, TrainingOptions

CLASSES = ("neg", "pos")
Results = dict[str, Any]


def free_addresses(count: int) -> tuple[str, ...]:
    """Addresses on loopback where nothing listens."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
    for server in servers:
        server.close()
    return addresses


def batches(steps: int, tokens: int, seed: int) -> list[tuple[npt.NDArray[Any], ...]]:
    """Word ids, mask, targets and weights of `steps` batches of random texts with up to `tokens` tokens."""
    random = np.random.default_rng(seed)
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for _ in range(steps):
        width = int(random.integers(4, 33)) * 8
        rows = max(2, min(32, tokens // width))
        lengths = random.integers(max(4, width - 16), width + 1, rows)
        mask = (np.arange(width) < lengths[:, None]).astype(np.int32)
        word_ids = random.integers(1000, 20000, (rows, width), np.int32) * mask
        targets = np.eye(2, dtype=np.float32)[random.integers(0, 2, rows)]
        found.append((word_ids, mask, targets, np.ones(rows, np.float32)))
    return found


def train(cluster: Cluster | None, core: int, steps: int, tokens: int, encoder: str, queue: Any) -> None:
    """Train as the chief, or alone without a cluster; put the results into the queue."""
    os.sched_setaffinity(0, {core})
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    from textclf.training.distributed.chief import led_team
    from textclf.training.fitting.training_loop import make_trainer
    from textclf.training.precision import chosen_precision

    model_options = model_options_of(encoder)
    options = TrainingOptions(epochs=1, init_lr=1e-4, batch_size=32, tokens_per_batch=tokens)
    model = fused_model(model_options, chosen_precision("auto"), 0)
    data = batches(steps, tokens, seed=1)
    if cluster is None:
        trainer = make_trainer(model, options, steps)
        queue.put(timed(trainer.step, data, model))
        return
    products = chosen_precision("auto")
    with led_team(cluster) as team:
        how = options, steps, "float32", products, float("inf")
        trainer = team.trainer(model, model_options, CLASSES, *how)
        trainer.synchronise()
        parts = time_parts(trainer)
        queue.put({**timed(trainer.step, data, model), "parts": parts})


def time_parts(trainer: Any) -> dict[str, list[float]]:
    """Wrap the parts of the chief's step, so that each call adds its seconds to the returned lists."""
    shared = trainer.step.__self__
    seconds: dict[str, list[float]] = {"gradient": [], "sum": [], "update": []}

    def wrapped(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed_call(*args: Any) -> Any:
            began = time.perf_counter()
            result = call(*args)
            seconds[name].append(time.perf_counter() - began)
            return result

        return timed_call

    part, ring = shared._part, shared._ring
    part.gradient, part.update = wrapped(part.gradient, "gradient"), wrapped(part.update, "update")
    ring.all_reduce = wrapped(ring.all_reduce, "sum")
    return seconds


def timed(step: Callable[..., Any], data: list[tuple[npt.NDArray[Any], ...]], model: Any) -> Results:
    """Train on all batches twice; only the second pass is timed, because the first one compiles."""
    seconds = 0.0
    for is_timed in (False, True):
        began = time.perf_counter()
        for batch in data:
            float(step(*batch, np.float32(1.0)))
        seconds = time.perf_counter() - began if is_timed else 0.0
    texts = sum(len(batch[0]) for batch in data)
    return {"texts_per_second": texts / seconds, "seconds": seconds, "weights": model.get_weights()}


def help_chief(cluster: Cluster, core: int) -> None:
    """Be another host than the chief."""
    os.sched_setaffinity(0, {core})
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    from textclf.training.distributed.gradients import SplitStep
    from textclf.training.distributed.worker import work
    from textclf.training.fitting.training_loop import planned_optimiser

    def build(job: Any, rank: int) -> SplitStep:
        options = TrainingOptions(**job["training"])
        model = fused_model(ModelOptions(**job["model"]), job["products"], rank)
        return SplitStep(model, planned_optimiser(model, options, job["steps"]), options.r_drop, job["precision"])

    work(cluster, build)


def model_options_of(encoder: str) -> ModelOptions:
    """Options of a model with this encoder and without dropout before its classification layer."""
    from textclf.encoder_handles import handles_of

    names = handles_of(encoder)
    return ModelOptions(names.model_name, names.name_to_handle, names.model_to_handle, max_length=256, dropout=0.0)


def fused_model(options: ModelOptions, products: str, seed: int) -> Any:
    """The fused model to fit, without dropout."""
    from make_model import MakeModel
    from textclf.training.fused_bert import trainable_classifier

    trainable_classifier.ENCODER_DROPOUT = 0.0
    classifier = MakeModel.from_options(options, class_names=CLASSES).build_model(0.0)
    return trainable_classifier.trainable_classifier(classifier, 0.0, products, seed, float("inf"))


def one_round(hosts: int, steps: int, tokens: int, encoder: str) -> tuple[Results, Results]:
    """Train alone, then with `hosts` processes; return both results."""
    context = multiprocessing.get_context("spawn")
    results = []
    for cluster in (None, Cluster(free_addresses(hosts), 0)):
        queue = context.Queue()
        chief = context.Process(target=train, args=(cluster, 0, steps, tokens, encoder, queue))
        ranks = [] if cluster is None else [Cluster(cluster.addresses, rank) for rank in range(1, hosts)]
        others = [context.Process(target=help_chief, args=(member, member.rank)) for member in ranks]
        for process in (chief, *others):
            process.start()
        results.append(queue.get(timeout=900))
        for process in (chief, *others):
            process.join(60)
    return results[0], results[1]


def time_sum(cluster: Cluster, core: int, weights: int, repeats: int, queue: Any) -> None:
    """Time the sum of a vector over all hosts: our ring and TensorFlow's, in turns."""
    os.sched_setaffinity(0, {core})
    os.environ["TF_CONFIG"] = tf_config(Cluster(free_ports_after(cluster), cluster.rank), cluster.rank)
    from textclf.training.distributed.joining import join_ring, listening
    from textclf.training.graphs import graph_function
    from textclf.training.tf_setup import tf

    communication = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=communication)
    vector = np.ones(weights, np.float32)

    @graph_function(tf.TensorSpec([weights], tf.float32))
    def theirs(values: tf.Tensor) -> tf.Tensor:
        def replica(part: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(part))

        return strategy.run(replica, args=(values,))

    seconds: dict[str, list[float]] = {"ring": [], "multi-worker": []}
    with listening(cluster) as listener:
        time.sleep(2)
        ring = join_ring(cluster, "key", listener)
        for _ in range(repeats):
            for name, call in (
                ("ring", lambda: ring.all_reduce(vector.copy())),
                ("multi-worker", lambda: theirs(tf.constant(vector)).numpy()),
            ):
                began = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - began)
        ring.close()
    if cluster.is_chief:
        queue.put(seconds)


def free_ports_after(cluster: Cluster) -> tuple[str, ...]:
    """Addresses for TensorFlow's servers: the next port of each."""
    return tuple(f"127.0.0.1:{int(address.rpartition(':')[2]) + 1}" for address in cluster.addresses)


@click.command(cls=Command)
@click.option("--hosts", default=2, type=click.IntRange(2), help="Number of processes.")
@click.option("--steps", default=20, type=click.IntRange(1), help="Number of batches; each is trained on twice.")
@click.option("--tokens", default=4096, type=click.IntRange(64), help="Maximum number of tokens in a batch.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Number of rounds.")
@click.option("--encoder", default="minilm-l6", help="Encoder.")
@click.option("--all-reduce", "only_sum", is_flag=True, help="Time only the sum of 22.7 million weights.")
def main(hosts: int, steps: int, tokens: int, rounds: int, encoder: str, only_sum: bool) -> None:
    """Measure trainings on several hosts, as processes of this machine."""
    click.echo(describe_machine())
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))
    if only_sum:
        cluster, queue = Cluster(free_addresses(hosts), 0), context.Queue()
        processes = [
            context.Process(
                target=time_sum,
                args=(Cluster(cluster.addresses, rank), cores[rank % len(cores)], 22_700_000, 4 * rounds, queue),
            )
            for rank in range(hosts)
        ]
        for process in processes:
            process.start()
        seconds = queue.get(timeout=300)
        for process in processes:
            process.join(60)
        for name, values in seconds.items():
            click.echo(f"{name}: median {np.median(values[1:]):.3f} s ({min(values[1:]):.3f} to {max(values[1:]):.3f})")
        return
    for number in range(rounds):
        alone, shared = one_round(hosts, steps, tokens, encoder)
        pairs = zip(alone["weights"], shared["weights"], strict=True)
        difference = max(float(np.abs(one.astype(float) - other).max()) for one, other in pairs)
        parts = {name: round(1000 * float(np.median(values[steps:])), 1) for name, values in shared["parts"].items()}
        click.echo(
            f"round {number + 1}: {alone['texts_per_second']:.1f} texts/s alone, {shared['texts_per_second']:.1f} with "
            f"{hosts} hosts, ratio {shared['texts_per_second'] / alone['texts_per_second']:.2f}; largest difference of "
            f"weights {difference:.2g}; ms of a step {json.dumps(parts)}"
        )


if __name__ == "__main__":
    main()
