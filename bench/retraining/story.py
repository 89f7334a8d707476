"""The whole story on real data: films are served, products come, drift is found, a retraining mends it, rolled back.

A champion is trained on film reviews and served as a user serves it, with its prediction log. It answers films, then
products, whose labels several sources send to POST /feedback. The log is checked after each; then the model is
retrained on what came, the gate decides, the running server changes to the new version, and a rollback takes it back.
A step that was done is not done again: killed, the same command goes on.

    python bench/retraining/story.py --data-dir DATA

DATA holds aclImdb_v1.tar.gz (or aclImdb/) and amazon_multidomain/. See bench/README.md.
"""

import contextlib
import dataclasses
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: the packages lie beside its folder, not in it.
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
from bench.retraining.story_server import QUESTION, Place, seconds_to_swap, send_labels, serve, served_version
from bench.retraining.story_texts import Review, draw, draw_films, draw_products
from bench.serving.servers import Running, running
from bench.steps import Figures, Steps
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
    """Each with a source drawn by chance; of all, AUDIT_SHARE are random audits."""
    chance = random.Random(f"sources {seed}")  # noqa: S311
    return [
        dataclasses.replace(review, source=chance.choice(SOURCES), audit=chance.random() < AUDIT_SHARE)
        for review in reviews
    ]


def check(place: Place, name: str, served: Figures) -> Figures:
    """What monitoring says of a span of time; also as a page."""
    monitoring = Monitoring(place.store, prediction_log_url=place.log_url, new_data_dir=place.new_data)
    report = monitoring.check_log(served["since"], served["until"])
    with atomic_file(place.folder / f"{name}.html") as file:
        file.write(drift_page(report))
    return _summary(report)


def retrain_and_swap(place: Place, server: Running) -> Figures:
    """Retrain, and if the challenger is promoted see the running server change to it."""
    before = served_version(server)
    figures = retrain(place.store, place.films, place.new_data, place.folder, place.margin)
    promoted = figures["action"] == "promote"
    swap = seconds_to_swap(server, figures["challenger"]) if promoted else None
    return {**figures, "served_before": before, "swap_seconds": swap}


def roll_back(place: Place, server: Running) -> Figures:
    """Take a promotion back, and see the running server change."""
    before = ModelStore(place.store).open().id
    if before != ModelStore(place.store).version_ids()[0]:  # Else a run that was killed has done it.
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
    """All steps that were not done yet."""
    copy_store(champion.store, place.store)
    with contextlib.ExitStack() as until_told:
        server: Running | None = None

        def running_server() -> Running:
            nonlocal server
            if server is None:
                server = until_told.enter_context(
                    running(place.server(), place.folder / "serve.log", QUESTION, _READY_SECONDS)
                )
            return server

        def films_come() -> Figures:
            rest = draw_films(data, scale.films, scale.golden, scale.seed).rest
            return serve(place, running_server(), draw(rest, served_films, scale.seed)[0])

        def products_come() -> Figures:
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


def what_failed(found: dict[str, Figures], min_gain: float) -> list[str]:
    """What did not happen as it should, a sentence each."""
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


def report(champion: Figures, found: dict[str, Figures]) -> str:
    """What happened, and a table of how often both models are right."""
    retrained = found["retrain"]
    left_out = {name: n for name, n in retrained["outcomes"].items() if name not in ("added", "held")}
    said = {
        "train the champion": f"on {champion['train']:,} films: right on {champion['accuracy']:.2%} of "
        f"{champion['golden']:,} golden ones",
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
        said["retrain"] += f"; the running server answered with it {retrained['swap_seconds']:.1f} s later"
    if "roll back" in found:
        back = found["roll back"]
        said["roll back"] = f"{back['to']} answers again, {back['swap_seconds']:.1f} s later"
    seconds = {"train the champion": champion["seconds"], **{name: step["seconds"] for name, step in found.items()}}
    happened = "\n".join(f"{name} ({seconds[name]:.0f} s): {text}" for name, text in said.items())
    sets = [("golden films", retrained["golden"])]
    sets += [("held-out products", retrained["holdout"])] if retrained["holdout"] else []
    return f"{happened}\n\n{accuracy_table(sets)}"


def _served(figures: Figures) -> str:
    return f"{figures['texts']:,} answered, {figures['accuracy']:.2%} of them right"


def _summary(found: DriftReport) -> Figures:
    alarms = [family.name for family in found.figures.families if family.is_alarm]
    return {"verdict": found.verdict, "sentence": found.sentence, "alarms": alarms, "words": found.words}


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Holds aclImdb_v1.tar.gz or aclImdb/, and amazon_multidomain/.",
)
@click.option("--work-dir", default="runs/bench", type=click.Path(path_type=Path), help="For all that is made.")
@scale_options(films=6000, golden=12_500, products=4000)
@click.option("--served-films", default=1000, type=click.IntRange(100), help="That are served before the products.")
@click.option("--rate", default=30.0, type=click.FloatRange(0.1), help="Texts sent a second.")
@click.option(
    "--least-gain", "min_gain", default=0.015, help="Minimum gain in accuracy on the held-out products, as a share."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every figure here.")
def main(
    data_dir: Path,
    work_dir: Path,
    scale: Scale,
    served_films: int,
    rate: float,
    min_gain: float,
    json_path: Path | None,
) -> int:
    """Serve films, then products; find the drift, retrain, gate, swap, and roll back."""
    say = partial(click.echo, err=True)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute()
    champion = trained_champion(scale, data_dir, work, say)
    folder = work / f"story-{scale.digest(served_films)}"
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder / "steps.json", say)
    tell(Place(folder, champion.films, rate, scale.margin), champion, scale, served_films, data_dir, steps)
    found = steps.figures()
    click.echo(f"\n{report(champion.figures, found)}")
    failures = what_failed(found, min_gain)
    for failure in failures:
        click.echo(failure)
    if json_path is not None:
        content = {"machine": machine, "scale": dataclasses.asdict(scale), "champion": champion.figures}
        write_json(json_path, {**content, "steps": found, "failures": failures})
    return 1 if failures else 0


if __name__ == "__main__":
    main()
