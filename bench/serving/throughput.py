"""Servers over HTTP: this project and its peers, on the same weights.

    python -m bench.serving.throughput --dataset-path datasets/aclImdb --peers-python /path/to/peers/bin/python

Every server has two workers of one compute thread each, the same cores, texts and client, and runs alone. Servers take
turns in each round, so that a busy machine slows all of them. See bench/README.md.
"""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.machine import describe_machine, keep_to_cores
from bench.reports import chosen_names, write_json
from bench.serving.peer_models import make_peer_models
from bench.serving.report import compared_pairs, notes, overload_report, ratio_table, table
from bench.serving.scenarios import SCENARIOS, Overload, Round, make_requests, measure, overload
from bench.serving.servers import (
    FORM_OF,
    OURS,
    PEERS,
    PEERS_GUNICORN,
    WITH_CASCADE,
    Running,
    Server,
    compile_sources,
    peer_servers,
    project_servers,
    running,
)
from textclf.cli.commands import Command
from textclf.store.model_store import ModelVersion, open_model

OVERLOAD = "overload"


def servers_by_name(
    names: Sequence[str],
    version: ModelVersion,
    work: Path,
    python: str,
    peers_python: str,
    peers_gunicorn: Sequence[str],
    original: Path | None = None,
) -> dict[str, Server]:
    """Return the servers of these names, after making the models of the peers among them.

    `original` is the folder that the version was imported from.

    Raises:
        ModelStoreError: if a peer needs the saved_model/ and the version has none.
        BenchError: if a peer's model cannot be made.
    """
    work.mkdir(parents=True, exist_ok=True)
    if forms := [FORM_OF[name] for name in names if name in FORM_OF]:
        make_peer_models(version, work, peers_python, forms, original)
    ours = project_servers(version.path, work, python)
    theirs = peer_servers(work, peers_python, version.manifest.max_length, peers_gunicorn)
    return {server.name: server for server in [*ours, *theirs] if server.name in names}


_ALL_SCENARIOS = [*(scenario.name for scenario in SCENARIOS), OVERLOAD]
_EXISTING = click.Path(exists=True, path_type=Path)


@click.command(cls=Command)
@click.option("--model-path", default="model", help="Model store, or folder of a version; peers need its saved_model/.")
@click.option("--dataset-path", required=True, type=_EXISTING, help="Data set with a test part.")
@click.option(
    "--imported-from",
    type=_EXISTING,
    help="The Hugging Face folder that the version was imported from; the peers serve it as it is.",
)
@click.option("--servers", default=",".join(OURS + PEERS), help="Names, separated by commas.")
@click.option("--scenarios", "scenario_names", default=",".join(_ALL_SCENARIOS), help="Names, separated by commas.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Number of rounds; each starts every server once.")
@click.option("--seconds", default=8.0, type=click.FloatRange(0.1), help="Seconds of each scenario, server and round.")
@click.option(
    "--warm-up", default=3.0, type=click.FloatRange(0), help="Seconds of load after each start that do not count."
)
@click.option("--texts", default=1000, type=click.IntRange(1), help="Number of test texts for accuracy.")
@click.option(
    "--load-texts", default=400, type=click.IntRange(1), help="Number of them that the scenario `reviews` sends."
)
@click.option("--overload-seconds", default=60.0, type=click.FloatRange(1), help="Seconds of overload.")
@click.option("--overload-server", default=WITH_CASCADE, type=click.Choice(OURS + PEERS), help="Server to overload.")
@click.option("--cores", default=2, type=click.IntRange(1), help="Number of cores that servers and client share.")
@click.option(
    "--python", default=sys.executable, help="Interpreter for this project's servers.", show_default="this one"
)
@click.option(
    "--peers-python",
    default=sys.executable,
    help="Interpreter with bench/requirements.txt.",
    show_default="this one",
)
@click.option(
    "--peers-gunicorn",
    default=" ".join(PEERS_GUNICORN),
    help="gunicorn's options for the peers, in addition to two workers.",
)
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for the models of the peers and the logs.",
)
@click.option("--ready-timeout", default=180.0, help="Maximum seconds until a server is ready.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    help="Also write all results of every round to this JSON file.",
)
def main(
    model_path: str,
    dataset_path: Path,
    imported_from: Path | None,
    servers: str,
    scenario_names: str,
    rounds: int,
    seconds: float,
    warm_up: float,
    texts: int,
    load_texts: int,
    overload_seconds: float,
    overload_server: str,
    cores: int,
    python: str,
    peers_python: str,
    peers_gunicorn: str,
    work_dir: Path,
    ready_timeout: float,
    json_path: Path | None,
) -> None:
    """Measure servers over HTTP."""
    names = chosen_names(servers, OURS + PEERS, "--servers")
    wanted = chosen_names(scenario_names, _ALL_SCENARIOS, "--scenarios")
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    keep_to_cores(cores)
    compile_sources()
    version = open_model(model_path)
    work = (work_dir / version.id).absolute()
    overloaded = [overload_server] if OVERLOAD in wanted else []
    gunicorn = shlex.split(peers_gunicorn)
    known = servers_by_name([*names, *overloaded], version, work, python, peers_python, gunicorn, imported_from)
    request_set = make_requests(version, dataset_path, texts, load_texts)
    machine = describe_machine()
    click.echo(f"{machine}\nmodel {version.id}, {len(request_set.labelled)} test texts of {dataset_path}")

    def start(name: str) -> AbstractContextManager[Running]:
        click.echo(f"  {name} …", err=True)
        return running(known[name], work / f"{name}.log", request_set.short[0], ready_timeout)

    results: dict[str, list[Round]] = {name: [] for name in names}
    for number in range(rounds if scenarios else 0):
        click.echo(f"round {number + 1} of {rounds}", err=True)
        for name in names if number % 2 == 0 else reversed(names):
            with start(name) as up:
                results[name].append(measure(up, request_set, scenarios, seconds, warm_up, with_accuracy=number == 0))
    if scenarios:
        click.echo(f"\nMedians of {rounds} rounds of {seconds:g} s:\n\n{table(known, scenarios, results)}")
        if compared_pairs(names):
            click.echo(f"\nRatios, round by round:\n\n{ratio_table(scenarios, results)}")
        click.echo("\n" + "\n".join(notes(scenarios, results)))
    too_much: dict[str, Overload] = {}
    for name in overloaded:
        with start(name) as up:
            too_much[name] = overload(up, request_set.reviews, seconds, overload_seconds)
        click.echo(f"\n{overload_report(name, too_much[name])}")
    if json_path is not None:
        write_json(
            json_path,
            {
                "machine": machine,
                "model": version.id,
                "options": click.get_current_context().params,
                "rounds": {name: list(map(dataclasses.asdict, each)) for name, each in results.items()},
                "overload": {name: dataclasses.asdict(each) for name, each in too_much.items()},
            },
        )


if __name__ == "__main__":
    main()
