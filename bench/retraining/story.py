"""Retraining on real data from end to end: films, then products, drift, retraining, promotion and rollback.

A champion is trained on film reviews and served with its prediction log. It predicts films, then products; several
sources send labels of the products to POST /feedback. Monitoring checks the log after each. Then the model is retrained
on the feedback, the gate decides, the running server loads the new version, and a rollback restores the champion.
A repeated run skips finished steps; a killed run continues.

    python bench/retraining/story.py --data-dir DATA

DATA contains aclImdb_v1.tar.gz (or aclImdb/) and amazon_multidomain/. See bench/README.md.
"""

import contextlib
import dataclasses
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.machine import describe_machine
from bench.reports import write_json
from bench.retraining.runs import (
    Champion,
    Scale,
    accuracy_table,
    copy_store,
    retrain,
    run,
    scale_options,
    trained_champion,
)
from bench.retraining.story_server import PROBE, Place, seconds_to_swap, send_labels, serve, served_version
from bench.retraining.story_texts import Review, draw, draw_films, draw_products
from bench.serving.servers import Running, running
from bench.steps import Result, Steps
from monitoring import Monitoring
from textclf.cli.commands import Command
from textclf.drift.state import DRIFT, NO_DRIFT
from textclf.files import atomic_file
from textclf.report.drift_html import drift_page
from textclf.report.drift_report import DriftReport
from textclf.store.model_store import ModelStore
from textclf.store.promotion_hold import PromotionHold

SOURCES = ("shop north", "shop south", "shop online", "newsletter", "call centre")
AUDIT_SHARE = 0.1
_READY_SECONDS = 120.0


def labelled_by_sources(reviews: Sequence[Review], seed: int) -> list[Review]:
    """Return the reviews with random sources; a share of AUDIT_SHARE are random audits."""
    chance = random.Random(f"sources {seed}")  # noqa: S311
    return [
        dataclasses.replace(review, source=chance.choice(SOURCES), audit=chance.random() < AUDIT_SHARE)
        for review in reviews
    ]


def check(place: Place, name: str, served: Result) -> Result:
    """Check the prediction log of a time span; write the report as a page and return a summary."""
    monitoring = Monitoring(place.store, prediction_log_url=place.log_url, new_data_dir=place.new_data)
    report = monitoring.check_log(served["since"], served["until"])
    with atomic_file(place.folder / f"{name}.html") as file:
        file.write(drift_page(report))
    return _summary(report)


def retrain_and_swap(place: Place, server: Running) -> Result:
    """Retrain; after a promotion, wait until the running server serves the challenger."""
    before = served_version(server)
    results = retrain(place.store, place.films, place.new_data, place.folder, place.margin)
    promoted = results["action"] == "promote"
    swap = seconds_to_swap(server, results["challenger"]) if promoted else None
    return {**results, "served_before": before, "swap_seconds": swap}


def roll_back(place: Place, server: Running) -> Result:
    """Roll back a promotion, and wait until the running server serves the champion."""
    before = ModelStore(place.store).open().id
    if before != ModelStore(place.store).version_ids()[0]:  # Otherwise a killed run has done it.
        run("retraining.py", "rollback", "--model-dir", place.store, log=place.folder / "log")
    version = ModelStore(place.store).open().id
    seconds = seconds_to_swap(server, version)
    return {
        "from": before,
        "to": version,
        "swap_seconds": seconds,
        "is_held": PromotionHold(place.store).reason is not None,
    }


def tell(place: Place, champion: Champion, scale: Scale, served_films: int, data: Path, steps: Steps) -> None:
    """Do all steps that are not done yet."""
    copy_store(champion.store, place.store)
    with contextlib.ExitStack() as until_told:
        server: Running | None = None

        def running_server() -> Running:
            nonlocal server
            if server is None:
                server = until_told.enter_context(
                    running(place.server(), place.folder / "serve.log", PROBE, _READY_SECONDS)
                )
            return server

        def films_come() -> Result:
            rest = draw_films(data, scale.films, scale.golden, scale.seed).rest
            return serve(place, running_server(), draw(rest, served_films, scale.seed)[0])

        def products_come() -> Result:
            reviews = labelled_by_sources(draw_products(data, scale.products, scale.seed)[0], scale.seed)
            served = serve(place, running_server(), reviews)
            send_labels(place, running_server(), reviews)
            return {**served, "until": time.time(), "audits": sum(review.audit for review in reviews)}

        served = steps.run("serve films", films_come)
        steps.run("check films", partial(check, place, "films", served))
        served = steps.run("serve products", products_come)
        steps.run("check products", partial(check, place, "products", served))
        found = steps.run("retrain", lambda: retrain_and_swap(place, running_server()))
        if found["action"] == "promote":
            steps.run("roll back", lambda: roll_back(place, running_server()))


def what_failed(found: dict[str, Result], min_gain: float) -> list[str]:
    """Return a sentence for each unmet expectation."""
    retrained, back = found["retrain"], found.get("roll back", {})
    expectations = {
        "no drift while films came": found["check films"]["verdict"] == NO_DRIFT,
        "drift once products came": found["check products"]["verdict"] == DRIFT,
        "the challenger promoted": retrained["action"] == "promote",
        f"a gain of {100 * min_gain:g} points or more on the held-out products": bool(retrained["holdout"])
        and retrained["holdout"]["difference"] >= min_gain,
        "the champion back after the rollback": back.get("to") == retrained["champion"],
        "automatic promotion on hold after the rollback": back.get("is_held") is True,
    }
    return [f"expected {text}" for text, holds in expectations.items() if not holds]


def report(champion: Result, found: dict[str, Result]) -> str:
    """Return a line per step, and a table with the accuracy of both models."""
    retrained = found["retrain"]
    left_out = {name: n for name, n in retrained["outcomes"].items() if name not in ("added", "held")}
    said = {
        "train the champion": f"on {champion['train']:,} films: right on {champion['accuracy']:.2%} of "
        f"{champion['golden']:,} test reviews",
        "serve films": _served(found["serve films"]),
        "check films": found["check films"]["sentence"],
        "serve products": f"{_served(found['serve products'])}; all labelled by {len(SOURCES)} sources, "
        f"{found['serve products']['audits']} as random audits",
        "check products": found["check products"]["sentence"],
        "retrain": f"{retrained['outcomes'].get('added', 0):,} products to train on, "
        f"{retrained['outcomes'].get('held', 0):,} held out, left out: {left_out or 'none'}; {retrained['action']}: "
        f"{'; '.join(retrained['reasons'])}",
    }
    if retrained["swap_seconds"] is not None:
        said["retrain"] += f"; the running server served it {retrained['swap_seconds']:.1f} s later"
    if "roll back" in found:
        back = found["roll back"]
        said["roll back"] = f"{back['to']} is served again, {back['swap_seconds']:.1f} s later"
    seconds = {"train the champion": champion["seconds"], **{name: step["seconds"] for name, step in found.items()}}
    happened = "\n".join(f"{name} ({seconds[name]:.0f} s): {text}" for name, text in said.items())
    sets = [("test films", retrained["golden"])]
    sets += [("held-out products", retrained["holdout"])] if retrained["holdout"] else []
    return f"{happened}\n\n{accuracy_table(sets)}"


def _served(results: Result) -> str:
    return f"{results['texts']:,} served, {results['accuracy']:.2%} of them right"


def _summary(found: DriftReport) -> Result:
    alarms = [family.name for family in found.figures.families if family.is_alarm]
    return {"verdict": found.verdict, "sentence": found.sentence, "alarms": alarms, "words": found.words}


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with aclImdb_v1.tar.gz or aclImdb/, and amazon_multidomain/.",
)
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for everything that is made.",
)
@scale_options(films=6000, golden=12_500, products=4000)
@click.option(
    "--served-films", default=1000, type=click.IntRange(100), help="Number of film reviews served before the products."
)
@click.option("--rate", default=30.0, type=click.FloatRange(0.1), help="Texts sent per second.")
@click.option(
    "--least-gain", "min_gain", default=0.015, help="Minimum gain in accuracy on the held-out products, as a share."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(
    data_dir: Path,
    work_dir: Path,
    scale: Scale,
    served_films: int,
    rate: float,
    min_gain: float,
    json_path: Path | None,
) -> int:
    """Serve films, then products; detect the drift, retrain, promote, and roll back."""
    say = partial(click.echo, err=True)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute()
    champion = trained_champion(scale, data_dir, work, say)
    folder = work / f"story-{scale.digest(served_films)}"
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder / "steps.json", say)
    tell(Place(folder, champion.films, rate, scale.margin), champion, scale, served_films, data_dir, steps)
    found = steps.results()
    click.echo(f"\n{report(champion.results, found)}")
    failures = what_failed(found, min_gain)
    for failure in failures:
        click.echo(failure)
    if json_path is not None:
        content = {"machine": machine, "scale": dataclasses.asdict(scale), "champion": champion.results}
        write_json(json_path, {**content, "steps": found, "failures": failures})
    return 1 if failures else 0


if __name__ == "__main__":
    main()
