"""Training speed of this project and the Hugging Face Trainer: texts per second, and seconds to an accuracy.

    python -m bench.training.speed --data-dir DATA --peers-python peers/bin/python --json training.json

Both sides have the same weights, ids and cores, and use bfloat16 if the processor supports it; the Trainer has its
fastest setting. A repeated run skips finished measurements. See bench/README.md.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.accuracy.cascade_variants import difference
from bench.arithmetic import Spread, markdown_table, ratios, spread
from bench.errors import BenchError
from bench.labelled_sets import SETS, LabelledSet, read_set
from bench.machine import describe_machine, keep_to_cores
from bench.reports import chosen_names, write_json
from bench.retraining.runs import points
from bench.steps import Result, Steps
from bench.training.runs import (
    SETTINGS,
    Drawn,
    Recipe,
    both,
    code_digest,
    draw,
    first_of,
    per_second,
    recipe_options,
    train_here,
    train_with_trainer,
)
from textclf.cli.commands import Command

SPEED, ACCURACY = "speed", "accuracy"
PARTS = (SPEED, ACCURACY)
OURS, THEIRS = "project", "trainer"
# Share of the drawn texts for train_model.py's validation after each epoch; both sides train on the others.
_OWN_VALIDATION = 0.02
# The last epoch is measured: the first one also compiles graphs and kernels.
_BURST_EPOCHS = 2
# A burst is tried again if other processes take a larger share of the cores.
_OTHERS = 0.03


@dataclass(frozen=True, eq=False)
class Bench:
    """Measurements of one recipe on one data set.

    Attributes:
        recipe: options of both sides.
        found: the labelled set.
        burst_texts, tries: number of texts and maximum tries of a burst.
        validation_texts: number of texts for accuracy.
        peers_python, threads: interpreter and threads of the Trainer.
        code: digest of this project's code (bench.training.runs.code_digest).
        work: folder for everything of this recipe.
        say: receives a line for each step.
    """

    recipe: Recipe
    found: LabelledSet
    burst_texts: int
    tries: int
    validation_texts: int
    peers_python: str
    threads: int
    code: str
    work: Path
    say: Callable[[str], None]

    @cached_property
    def steps(self) -> Steps:
        """Return the measurements so far."""
        return Steps(self.work / "steps.json", self.say)

    def drawn(self, count: int) -> Drawn:
        """Draw `count` training texts; 0: all."""
        data = self.found.data
        held = both(data.validation_select, data.validation_calibrate)
        validation = first_of(held, self.validation_texts, "validation")
        return draw(self.found, count, validation, _OWN_VALIDATION, self.work / f"texts-{count}")

    def train(self, side: str, drawn: Drawn, length: int, setting: str, epochs: int, predict: bool) -> Result:
        """Train with one side, OURS or THEIRS; `setting` is one of SETTINGS, for the Trainer.

        Without predictions, it is the beginning of a training that takes as many texts as one epoch over the whole set.
        """
        work = self.work / side
        if side == OURS:
            planned = epochs if predict else max(epochs, math.ceil(len(self.found.data.train) / len(drawn.train)))
            return train_here({**self.recipe.options(length), "epochs": planned}, drawn, epochs, predict, work)
        return train_with_trainer(
            self.recipe, drawn, length, epochs, predict, work, SETTINGS[setting], self.peers_python, self.threads
        )

    def burst(self, side: str, length: int, setting: str) -> Result:
        """Return the texts per second of the last epoch on a few texts, and the share of the cores that `others` took.

        Up to `tries` bursts are run until the machine is quiet enough; the quietest counts.
        """
        drawn = self.drawn(self.burst_texts)
        found: list[Result] = []
        while len(found) < self.tries and not any(burst["others"] <= _OTHERS for burst in found):
            trained = self.train(side, drawn, length, setting, _BURST_EPOCHS, predict=False)
            found.append({"per_second": per_second(trained["epochs"][-1]), "others": float(trained["others"])})
        return min(found, key=lambda burst: float(burst["others"]))

    def settings(self, length: int) -> dict[str, Result]:
        """Measure a burst of the Trainer in each of SETTINGS."""
        scale = f"{length} tokens, {self.burst_texts} texts"
        return {
            setting: self.steps.run(f"trainer {setting}, {scale}", partial(self.burst, THEIRS, length, setting))
            for setting in SETTINGS
        }

    def speed(self, length: int, setting: str, rounds: int) -> dict[str, list[Result]]:
        """Measure bursts of both sides in each round; every second round begins with the other side."""

        def work(number: int) -> Result:
            sides = (OURS, THEIRS) if number % 2 == 0 else (THEIRS, OURS)
            return {side: self.burst(side, length, setting) for side in sides}

        scale = f"{length} tokens, {self.burst_texts} texts, {setting}, code {self.code}"
        found = [self.steps.run(f"speed, {scale}, round {at + 1}", partial(work, at)) for at in range(rounds)]
        return {side: [each[side] for each in found] for side in (OURS, THEIRS)}

    def trained(self, count: int, length: int, setting: str) -> Result:
        """Train one epoch on `count` texts; return seconds and accuracy by side.

        The difference in accuracy has an interval (cascade_variants.difference).
        """
        drawn = self.drawn(count)
        labels = drawn.validation.labels.astype(np.int64)
        names = {OURS: f"{OURS}, code {self.code}", THEIRS: f"{THEIRS} {setting}"}
        sides, predicted = {}, {}
        for side, name in names.items():
            work = partial(self.train, side, drawn, length, setting, epochs=1, predict=True)
            scale = f"{length} tokens, {count or 'all'} texts, {len(labels)} for validation"
            found = self.steps.run(f"one epoch, {name}, {scale}", work)
            (epoch,) = found["epochs"]
            predicted[side] = np.array(found["predicted"], np.int64)
            accuracy = float(np.mean(predicted[side] == labels))
            sides[side] = {"seconds": epoch["seconds"], "others": found["others"], "accuracy": accuracy}
        return {
            "texts": len(drawn.train),
            **sides,
            "validation_texts": len(labels),
            "difference": difference(labels, predicted[THEIRS], predicted[OURS]),
        }


def fastest(bursts: Mapping[str, Result]) -> str:
    """Return the name of the fastest burst."""
    return max(bursts, key=lambda name: float(bursts[name]["per_second"]))


def in_percent(bursts: Iterable[Result]) -> str:
    """Return the maximum share of the cores that others took during one of the bursts."""
    return f"{max(float(burst['others']) for burst in bursts):.0%}"


def growing(count: int, halvings: int) -> list[int]:
    """Return numbers of texts, each half of the next, up to `count`."""
    return [count // 2**times for times in reversed(range(halvings + 1))]


def seconds_to(target: float, side: str, trainings: Sequence[Result]) -> float | None:
    """Return the seconds of the smallest training of a side that reaches the target accuracy; None if none does."""
    enough = [float(each[side]["seconds"]) for each in trainings if each[side]["accuracy"] >= target]
    return enough[0] if enough else None


def setting_table(bursts: Mapping[int, Mapping[str, Result]]) -> str:
    """Return a table of the Trainer's texts per second, a row per setting and a column per length."""
    rows = [[name, *(f"{found[name]['per_second']:.1f}" for found in bursts.values())] for name in SETTINGS]
    others = ["others took at most", *(in_percent(found.values()) for found in bursts.values())]
    return markdown_table(["padding", *(f"{length} tokens" for length in bursts)], [*rows, others])


def speed_table(bursts: Mapping[int, Mapping[str, Sequence[Result]]], settings: Mapping[int, str]) -> str:
    """Return a table of the texts per second of both sides and their ratio round by round, a row per length."""
    header = ("max tokens", "this project", "Trainer", "its padding", "ratio", "others took at most")
    rows = []
    for length, found in bursts.items():
        ours, theirs = ([float(burst["per_second"]) for burst in found[side]] for side in (OURS, THEIRS))
        medians = (f"{spread(speeds).median:.1f}" for speeds in (ours, theirs))
        others = in_percent([*found[OURS], *found[THEIRS]])
        rows.append((str(length), *medians, settings[length], in_words(ratios(ours, theirs)), others))
    return markdown_table(header, rows)


def in_words(ratio: Spread) -> str:
    """Format a ratio with its range."""
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def accuracy_table(trainings: Sequence[Result]) -> str:
    """Return a table of seconds and accuracy of both sides after one epoch, a row per number of texts."""
    names = ("this project", "Trainer")
    header = ("texts", *names, "ratio", "others took at most", *names, "difference", "95% interval")
    return markdown_table(
        header,
        [
            (
                f"{each['texts']:,}",
                *(f"{each[side]['seconds']:.0f} s" for side in (OURS, THEIRS)),
                f"{each[THEIRS]['seconds'] / each[OURS]['seconds']:.2f}",
                in_percent([each[OURS], each[THEIRS]]),
                *(f"{each[side]['accuracy']:.2%}" for side in (OURS, THEIRS)),
                points(each["difference"]["difference"]),
                f"{points(each['difference']['low'])} to {points(each['difference']['high'])}",
            )
            for each in trainings
        ],
    )


def target_sentence(target: float, trainings: Sequence[Result]) -> str:
    """Return a sentence with the seconds of each side to the target accuracy."""
    ours, theirs = (seconds_to(target, side, trainings) for side in (OURS, THEIRS))

    def cell(seconds: float | None) -> str:
        return "not reached" if seconds is None else f"{seconds:.0f} s"

    sentence = f"Accuracy {target:.1%}: this project {cell(ours)}, Trainer {cell(theirs)}"
    return sentence if ours is None or theirs is None else f"{sentence}, {theirs / ours:.2f} times as long"


def lengths_of(text: str) -> list[int]:
    """Parse whole numbers, separated by commas.

    Raises:
        BenchError: if an item is not a whole number of at least 8.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) >= 8 for word in words):
        raise BenchError(f"--lengths: expected whole numbers of at least 8, separated by commas, got {text!r}")
    return [int(word) for word in words]


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that contains the data set: aclImdb_v1.tar.gz, aclImdb/ or a folder named after the set.",
)
@click.option("--set", "set_name", default="imdb", type=click.Choice(list(SETS)), help="Data set.")
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for everything that is made.",
)
@click.option("--parts", default=",".join(PARTS), help="Parts to measure, separated by commas.")
@click.option("--lengths", default="256,512", help="Maximum tokens of a text for the speeds, separated by commas.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Rounds of each speed, with both sides in each.")
@click.option("--burst-texts", default=480, type=click.IntRange(16), help="Number of texts in an epoch of a burst.")
@click.option(
    "--tries",
    default=3,
    type=click.IntRange(1),
    help=f"Maximum tries of a burst while other processes take more than {_OTHERS:.0%} of the cores.",
)
@click.option(
    "--texts",
    default=8000,
    type=click.IntRange(0),
    help="Number of texts of the largest training for accuracy; 0: all.",
)
@click.option(
    "--halvings",
    default=2,
    type=click.IntRange(0),
    help="Number of smaller trainings, each on half the texts of the next.",
)
@click.option("--length", default=256, type=click.IntRange(8), help="Maximum tokens of a text for accuracy.")
@click.option(
    "--validation-texts", default=2000, type=click.IntRange(0), help="Number of validation texts for accuracy; 0: all."
)
@click.option("--target", default=0.86, type=click.FloatRange(0, 1), help="Target accuracy of both sides.")
@recipe_options
@click.option("--cores", default=2, type=click.IntRange(1), help="Number of cores of each side.")
@click.option(
    "--peers-python",
    default=sys.executable,
    help="Interpreter with bench/requirements.txt.",
    show_default="this one",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(
    data_dir: Path,
    set_name: str,
    work_dir: Path,
    parts: str,
    lengths: str,
    rounds: int,
    burst_texts: int,
    tries: int,
    texts: int,
    halvings: int,
    length: int,
    validation_texts: int,
    target: float,
    recipe: Recipe,
    cores: int,
    peers_python: str,
    json_path: Path | None,
) -> None:
    """Measure training speed, next to the Hugging Face Trainer."""
    wanted, measured = chosen_names(parts, PARTS, "--parts"), lengths_of(lengths)
    keep_to_cores(cores)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute() / "training"
    found = read_set(set_name, data_dir, work / "datasets")
    folder = work / f"{set_name}-{found.data.fingerprint[:12]}-{recipe.digest(cores, validation_texts)}"
    bench = Bench(
        recipe=recipe,
        found=found,
        burst_texts=burst_texts,
        tries=tries,
        validation_texts=validation_texts,
        peers_python=peers_python,
        threads=cores,
        code=code_digest(),
        work=folder,
        say=partial(click.echo, err=True),
    )
    needed = sorted({*(measured if SPEED in wanted else []), *([length] if ACCURACY in wanted else [])})
    of_settings = {each: bench.settings(each) for each in needed}
    settings = {each: fastest(bursts) for each, bursts in of_settings.items()}
    click.echo(f"\nTexts per second of the Trainer:\n\n{setting_table(of_settings)}")
    results: Result = {"settings": of_settings}
    if SPEED in wanted:
        results[SPEED] = {each: bench.speed(each, settings[each], rounds) for each in measured}
        click.echo(
            f"\nTexts per second, medians of {rounds} rounds, and ratios round by round:\n\n"
            f"{speed_table(results[SPEED], settings)}"
        )
    if ACCURACY in wanted:
        counts = growing(texts or len(found.data.train), halvings)
        trainings = [bench.trained(count, length, settings[length]) for count in counts]
        results[ACCURACY] = trainings
        click.echo(
            f"\nSeconds of one epoch, and accuracy after it on {trainings[-1]['validation_texts']:,} validation "
            f"texts, {length} tokens:\n\n{accuracy_table(trainings)}\n\n{target_sentence(target, trainings)}"
        )
    if json_path is not None:
        options = click.get_current_context().params
        content = {"machine": machine, "recipe": dataclasses.asdict(recipe), "options": options, "figures": results}
        write_json(json_path, content)


if __name__ == "__main__":
    main()
