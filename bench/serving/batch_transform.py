"""Batch transform: records per second of a server in a batch transform job, against `inference.py score`.

    python -m bench.serving.batch_transform --model-path my-models --dataset-path datasets/aclImdb

Both read the same records, of which one in a thousand is bad, and use the same cores. They take turns in each round.
The time to load the model does not count: that of `score` is measured with a file of one record. See bench/README.md.
"""

import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.arithmetic import markdown_table, ratios, spread
from bench.errors import BenchError
from bench.machine import describe_machine, keep_to_cores
from bench.reports import write_json
from bench.serving.load_generator import Address, post
from bench.serving.servers import ROOT, WITH_CASCADE, Server, project_servers, running
from bench.serving.texts import sample_of_test_texts
from bench.serving.transform_client import CSV, JSON_LINES, MIB, Transform, check_answers, encoded, transform
from textclf.cli.commands import Command
from textclf.store.model_store import open_model

_SAMPLE = ROOT / "data" / "sample"
_BAD_EVERY = 1000
_ENDINGS = {CSV: "csv", JSON_LINES: "jsonl"}
_READY_SECONDS = 180.0


def job_server(model_path: Path, work: Path, python: str, job: Transform) -> Server:
    """Return the server with nginx, in the environment of a batch transform job."""
    servers = {server.name: server for server in project_servers(model_path, work, python)}
    environment = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(-(-job.payload // MIB)),
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(job.concurrent),
        "PREDICTION_LOG_URL": "off",  # As `score`, which logs nothing.
    }
    server = servers[WITH_CASCADE]
    return dataclasses.replace(server, environment={**server.environment, **environment})


def transform_seconds(address: Address, texts: list[str], job: Transform) -> float:
    """Return the seconds of a job, after a check of its answers."""
    records = encoded(texts, job.content_type, _BAD_EVERY)
    began = time.perf_counter()
    bodies = transform(address, records, job)
    seconds = time.perf_counter() - began
    check_answers(bodies, texts, job.content_type, _BAD_EVERY)
    return seconds


def score_seconds(model_path: Path, texts: list[str], content_type: str, work: Path) -> float:
    """Return the seconds of `inference.py score` for the same records, without those for one record."""
    ending = _ENDINGS[content_type]
    header = b"text\n" if content_type == CSV else b""
    seconds = []
    for name, some in (("one", texts[:1]), ("all", texts)):
        source = work / f"{name}.{ending}"
        source.write_bytes(header + b"".join(encoded(some, content_type, _BAD_EVERY)))
        command = [sys.executable, str(ROOT / "inference.py"), "--model-path", str(model_path.absolute()), "score"]
        command += ["--input", str(source), "--output", str(work / f"scored.{ending}"), "--skip-bad"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 (a command of ours)
        if done.returncode:
            raise BenchError(f"score: ended with status {done.returncode}; {done.stderr[-500:]}")
        seconds.append(time.perf_counter() - began)
    return seconds[1] - seconds[0]


@click.command(cls=Command)
@click.option("--model-path", type=click.Path(path_type=Path), default=Path("model"), show_default=True, help="Model.")
@click.option(
    "--dataset-path",
    type=click.Path(path_type=Path),
    default=_SAMPLE,
    show_default=True,
    help="Data set whose test texts are sent.",
)
@click.option("--texts", "count", default=400, show_default=True, help="Texts of the data set.")
@click.option("--repeat", default=1, show_default=True, help="How often each text is sent in a round.")
@click.option("--payload", default=6.0, show_default=True, help="MiB of a request.")
@click.option("--concurrent", default=4, show_default=True, help="Requests at a time.")
@click.option("--rounds", default=3, show_default=True, help="Rounds.")
@click.option("--cores", default=2, show_default=True, help="Cores for each of both, and the client.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="File for the results.")
def main(
    model_path: Path,
    dataset_path: Path,
    count: int,
    repeat: int,
    payload: float,
    concurrent: int,
    rounds: int,
    cores: int,
    json_path: Path | None,
) -> None:
    """Compare a batch transform job with scoring the same file."""
    keep_to_cores(cores)
    click.echo(describe_machine())
    manifest = open_model(model_path).manifest
    texts = [item.text for item in sample_of_test_texts(dataset_path, manifest, count)] * repeat
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="textclf-bench-") as folder:
        work = Path(folder)
        for round_number in range(rounds):
            for content_type in (CSV, JSON_LINES):
                job = Transform(content_type, int(payload * MIB), concurrent)
                server = job_server(model_path, work, sys.executable, job)
                ready = post("/predict", {"text": "ready"})
                with running(server, work / "serve.log", ready, _READY_SECONDS) as found:
                    seconds = transform_seconds(found.address, texts, job)
                times = results.setdefault(content_type, {"transform": [], "score": []})
                times["transform"].append(len(texts) / seconds)
                times["score"].append(len(texts) / score_seconds(model_path, texts, content_type, work))
                click.echo(
                    f"round {round_number + 1}, {content_type}: {times['transform'][-1]:.0f} records/s", err=True
                )
    rows = []
    for content_type, times in results.items():
        ratio = ratios(times["transform"], times["score"])
        medians = [f"{spread(times[name]).median:.0f}" for name in ("transform", "score")]
        rows.append([content_type, *medians, f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"])
    click.echo(markdown_table(["records", "batch transform, records/s", "score, records/s", "ratio"], rows))
    if json_path is not None:
        write_json(json_path, {"machine": describe_machine(), "texts": len(texts), "records_per_second": results})


if __name__ == "__main__":
    main()
