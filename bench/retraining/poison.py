"""Poisoned labels on real data: removed texts, accuracy of the challenger, and the verdict of the gate.

The champion of the retraining story gets clean or poisoned labels of products in several scenarios. `retraining.py run`
retrains it on each, in a separate store. A repeated run skips finished scenarios.

    python bench/retraining/poison.py --data-dir DATA

DATA contains aclImdb_v1.tar.gz (or aclImdb/) and amazon_multidomain/. See bench/README.md.
"""

import dataclasses
import functools
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.arithmetic import markdown_table
from bench.machine import describe_machine
from bench.reports import chosen_names, write_json
from bench.retraining.runs import Champion, Scale, copy_store, points, retrain, scale_options, trained_champion
from bench.retraining.story_texts import CLASSES, Review, draw_films, draw_products, write_table
from bench.steps import Result, Steps
from textclf.cli.commands import Command
from textclf.store.decision_log import DECISIONS_FILE

SHOPS = ("north", "south", "east", "west", "online")
LIAR = "liar"
COPIES = 10_000
FLOOD = 4000


@dataclass(frozen=True)
class Sent:
    """Reviews that a scenario sends.

    Attributes:
        clean: product reviews with right labels, from SHOPS in turn.
        other: other reviews of products and films.
    """

    clean: Sequence[Review]
    other: Sequence[Review]


@dataclass(frozen=True)
class Scenario:
    """One way to send labels.

    Attributes:
        name: name on the command line.
        title: title in the table.
        send: returns the reviews that arrive.
        must_promote: whether the challenger must be promoted, because few labels are wrong.
    """

    name: str
    title: str
    send: Callable[[Sent], list[Review]]
    must_promote: bool = False


def flipped(review: Review) -> Review:
    """Return the review with the other label."""
    return dataclasses.replace(review, label=CLASSES[1 - CLASSES.index(review.label)])


def _one_source_in_part(sent: Sent) -> list[Review]:
    """Flip one label in ten of the first shop."""
    every = 10 * len(SHOPS)
    return [flipped(review) if at % every == 0 else review for at, review in enumerate(sent.clean)]


def _one_source_wholly(share: float, sent: Sent) -> list[Review]:
    """Flip a share of all labels, all of them from one more source."""
    wrong = round(share * len(sent.clean))
    lies = [dataclasses.replace(flipped(review), source=LIAR) for review in sent.clean[:wrong]]
    return [*lies, *sent.clean[wrong:]]


def _copies(sent: Sent) -> list[Review]:
    """Send copies of one review with a wrong label."""
    lie = dataclasses.replace(flipped(sent.other[0]), source=LIAR)
    return [*sent.clean, *[lie] * COPIES]


def _flood(label: str, only_right: bool, sent: Sent) -> list[Review]:
    """Send thousands of reviews with one label from one source."""
    chosen = [review for review in sent.other if review.label == label or not only_right][:FLOOD]
    return [*sent.clean, *(dataclasses.replace(review, label=label, source=LIAR) for review in chosen)]


SCENARIOS = (
    Scenario("clean", "clean", lambda sent: list(sent.clean), must_promote=True),
    Scenario("source-10", "10% of one source flipped", _one_source_in_part, must_promote=True),
    Scenario("all-10", "10% of all flipped, from one source", partial(_one_source_wholly, 0.1)),
    Scenario("all-30", "30% of all flipped, from one source", partial(_one_source_wholly, 0.3)),
    Scenario("copies", f"{COPIES:,} copies of one wrong label", _copies),
    Scenario("flood", f"{FLOOD:,} texts called pos, half of them are", partial(_flood, "pos", False)),
    Scenario("flood-right", f"{FLOOD:,} texts that are pos", partial(_flood, "pos", True)),
)


def sent_of(scale: Scale, data: Path) -> Sent:
    """Draw the texts of a scale.

    Raises:
        BenchError: if the data is missing, or has too few texts.
    """
    some, others = draw_products(data, scale.products, scale.seed)
    clean = [dataclasses.replace(review, source=SHOPS[at % len(SHOPS)]) for at, review in enumerate(some)]
    return Sent(clean, [*others, *draw_films(data, scale.films, scale.golden, scale.seed).rest])


def tried(scenario: Scenario, champion: Champion, sent: Callable[[], Sent], folder: Path, margin: float) -> Result:
    """Retrain on the reviews that the scenario sends."""
    copy_store(champion.store, folder / "model")
    reviews = scenario.send(sent())
    write_table(folder / "new.jsonl", reviews)
    return {"sent": len(reviews), **retrain(folder / "model", champion.films, folder / "new.jsonl", folder, margin)}


def tidy(folder: Path) -> None:
    """Remove large files; keep the decision and the list of removed reviews."""
    if (folder / "model").exists():
        shutil.copy(folder / "model" / DECISIONS_FILE, folder)
    for name in ("model", "combined", "runs"):
        shutil.rmtree(folder / name, ignore_errors=True)


def what_failed(found: dict[str, Result], margin: float) -> list[str]:
    """Return a sentence for each unmet expectation."""
    failures = []
    for scenario in SCENARIOS:
        results = found.get(scenario.name)
        if results is None:
            continue
        is_promoted = results["action"] == "promote"
        if is_promoted and results["golden"]["difference"] < -margin:
            failures.append(f"{scenario.title}: promoted, and loses more than the margin on the test set")
        if scenario.must_promote and not is_promoted:
            failures.append(f"{scenario.title}: expected a promotion, got {results['action']}")
    return failures


def table(found: dict[str, Result]) -> str:
    """Return a table with a row per scenario."""
    header = (
        "sent",
        "texts",
        "left out",
        "learnt",
        "test set",
        "challenger",
        "difference",
        "bound",
        "holdout",
        "verdict",
        "s",
    )
    return markdown_table(
        header, [_row(scenario, found[scenario.name]) for scenario in SCENARIOS if scenario.name in found]
    )


def _row(scenario: Scenario, results: Result) -> tuple[str, ...]:
    outcomes, golden, holdout = dict(results["outcomes"]), results["golden"], results["holdout"]
    learnt = outcomes.pop("added", 0)
    outcomes.pop("held", None)
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcomes.items(), key=lambda item: -item[1]))
    return (
        scenario.title,
        f"{results['sent']:,}",
        left_out or "none",
        f"{learnt:,}",
        f"{golden['champion_accuracy']:.2%}",
        f"{golden['challenger_accuracy']:.2%}",
        points(golden["difference"]),
        points(golden["lower_bound"]),
        f"{holdout['champion_accuracy']:.2%} -> {holdout['challenger_accuracy']:.2%}" if holdout else "",
        results["action"],
        f"{results['seconds']:.0f}",
    )


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
    "--scenarios", default=",".join(scenario.name for scenario in SCENARIOS), help="Names, separated by commas."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(data_dir: Path, work_dir: Path, scale: Scale, scenarios: str, json_path: Path | None) -> int:
    """Retrain on poisoned labels in several scenarios."""
    names = chosen_names(scenarios, [scenario.name for scenario in SCENARIOS], "--scenarios")
    say = partial(click.echo, err=True)
    machine = describe_machine()
    click.echo(machine)
    champion = trained_champion(scale, data_dir, work_dir.absolute(), say)
    folder = work_dir.absolute() / f"poison-{scale.digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder / "steps.json", say)
    sent = functools.cache(partial(sent_of, scale, data_dir))
    for scenario in SCENARIOS:
        if scenario.name in names:
            steps.run(scenario.name, partial(tried, scenario, champion, sent, folder / scenario.name, scale.margin))
            tidy(folder / scenario.name)
    found = steps.results()
    click.echo(f"\n{table(found)}")
    failures = what_failed(found, scale.margin)
    for failure in failures:
        click.echo(failure)
    if json_path is not None:
        content = {"machine": machine, "scale": dataclasses.asdict(scale), "champion": champion.results}
        write_json(json_path, {**content, "scenarios": found, "failures": failures})
    return 1 if failures else 0


if __name__ == "__main__":
    main()
