"""Score shards in one of the ways of bench.sharding.throughput, and print the seconds and the peak memory as JSON.

The clock starts when the cluster of Ray runs, and includes the start of processes and the load of the model.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator

from bench.sharding.throughput import peak_mb
from inference import Inference
from textclf.sharding.options import ShardOptions
from textclf.sharding.running import ShardedRun


@contextlib.contextmanager
def raylets(count: int) -> Iterator[str]:
    """Run raylets of one CPU on this machine; yields the address of their cluster."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def main() -> None:
    """Run with the arguments way, input, output, model store and number of shards."""
    way, source, target, model, shards = sys.argv[1:]
    processes = 1 if way == "one process" else 2
    with raylets(3) if way == "ray" else contextlib.nullcontext("") as address:
        options = ShardOptions(
            shards=int(shards),
            id_column="id",
            processes=processes,
            output_format="parquet",
            engine="ray" if way == "ray" else "processes",
            ray_address=address,
            drift=False,
        )
        settings = Inference(model, threads=1)
        begin = time.perf_counter()
        ShardedRun(settings, source, target, "text", options, lambda _: None).run()
        seconds = time.perf_counter() - begin
    print(json.dumps({"scoring": seconds, "driver_mb": peak_mb()}))  # noqa: T201


if __name__ == "__main__":
    main()
