"""How fast this project trains beside the Hugging Face Trainer: texts a second, and seconds to an accuracy.

    python -m bench.training.speed --data-dir DATA --peers-python peers/bin/python --json training.json

The same weights, the same ids, the same cores, both in bfloat16 where the processor multiplies it, and the Trainer in
the setting in which it is fastest. What was measured is not measured again. See bench/README.md.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

if not __package__:  # Run as a file: the packages lie beside its folder, not in it.
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
from bench.steps import Figures, Steps
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
# Of the drawn texts, for the validation that train_model.py has after each epoch; both sides train on the others.
_OWN_VALIDATION = 0.02
# Of a speed two epochs are trained and the second is measured: in the first, graphs and kernels are made.
_BURST_EPOCHS = 2
# Others that take more of the cores than this spoil a burst.
_OTHERS = 0.03


@dataclass(frozen=True, eq=False)
class Bench:
    """What is measured, and where it is kept.

    Attributes:
        recipe: of both sides.
        found: the labelled set.
        burst_texts, tries: of a speed.
        validation_texts: of an accuracy.
        peers_python, threads: of the Trainer.
        code: digest of this project's (bench.training.runs.code_digest).
        work: a folder for all of this recipe.
        say: gets a line for each step.
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
        """What was measured."""
        return Steps(self.work / "steps.json", self.say)

    def drawn(self, count: int) -> Drawn:
        """So many texts; 0: all."""
        data = self.found.data
        held = both(data.validation_select, data.validation_calibrate)
        validation = first_of(held, self.validation_texts, "validation")
        return draw(self.found, count, validation, _OWN_VALIDATION, self.work / f"texts-{count}")

    def train(self, side: str, drawn: Drawn, length: int, setting: str, epochs: int, predict: bool) -> Figures:
        """One training by a side, OURS or THEIRS; `setting`, one of SETTINGS, is the Trainer's.

        Without predictions it is the beginning of one that takes as many texts as an epoch over the whole set.
        """
        work = self.work / side
        if side == OURS:
            planned = epochs if predict else max(epochs, math.ceil(len(self.found.data.train) / len(drawn.train)))
            return train_here({**self.recipe.options(length), "epochs": planned}, drawn, epochs, predict, work)
        return train_with_trainer(
            self.recipe, drawn, length, epochs, predict, work, SETTINGS[setting], self.peers_python, self.threads
        )

    def burst(self, side: str, length: int, setting: str) -> Figures:
        """Texts a second in the last of some epochs on a few texts, and what `others` took of the cores meanwhile.

        Of the tries, that with the quietest machine; the first that is quiet enough is the last.
        """
        drawn = self.drawn(self.burst_texts)
        found: list[Figures] = []
        while len(found) < self.tries and not any(burst["others"] <= _OTHERS for burst in found):
            trained = self.train(side, drawn, length, setting, _BURST_EPOCHS, predict=False)
            found.append({"per_second": per_second(trained["epochs"][-1]), "others": float(trained["others"])})
        return min(found, key=lambda burst: float(burst["others"]))

    def settings(self, length: int) -> dict[str, Figures]:
        """A burst of the Trainer in each of SETTINGS."""
        scale = f"{length} tokens, {self.burst_texts} texts"
        return {
            setting: self.steps.run(f"trainer {setting}, {scale}", partial(self.burst, THEIRS, length, setting))
            for setting in SETTINGS
        }

    def speed(self, length: int, setting: str, rounds: int) -> dict[str, list[Figures]]:
        """A burst of both sides in each round, by side; every second round begins with the other one."""

        def work(number: int) -> Figures:
            sides = (OURS, THEIRS) if number % 2 == 0 else (THEIRS, OURS)
            return {side: self.burst(side, length, setting) for side in sides}

        scale = f"{length} tokens, {self.burst_texts} texts, {setting}, code {self.code}"
        found = [self.steps.run(f"speed, {scale}, round {at + 1}", partial(work, at)) for at in range(rounds)]
        return {side: [each[side] for each in found] for side in (OURS, THEIRS)}

    def trained(self, count: int, length: int, setting: str) -> Figures:
        """One epoch on so many texts: `texts` that were trained on, and by side `seconds` and `accuracy`.

        And by how much this project is right more often, with its interval (cascade_variants.difference).
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


def fastest(bursts: Mapping[str, Figures]) -> str:
    """The name of the fastest burst."""
    return max(bursts, key=lambda name: float(bursts[name]["per_second"]))


def in_percent(bursts: Iterable[Figures]) -> str:
    """The most that others took of the cores during one of these."""
    return f"{max(float(burst['others']) for burst in bursts):.0%}"


def growing(count: int, halvings: int) -> list[int]:
    """Numbers of texts, each half of the next, up to `count`."""
    return [count // 2**times for times in reversed(range(halvings + 1))]


def seconds_to(target: float, side: str, trainings: Sequence[Figures]) -> float | None:
    """Seconds of the smallest training by a side that is as accurate as the target; None: none is."""
    enough = [float(each[side]["seconds"]) for each in trainings if each[side]["accuracy"] >= target]
    return enough[0] if enough else None


def setting_table(bursts: Mapping[int, Mapping[str, Figures]]) -> str:
    """The Trainer's texts a second, a row a setting and a column a length."""
    rows = [[name, *(f"{found[name]['per_second']:.1f}" for found in bursts.values())] for name in SETTINGS]
    others = ["others took at most", *(in_percent(found.values()) for found in bursts.values())]
    return markdown_table(["padding", *(f"{length} tokens" for length in bursts)], [*rows, others])


def speed_table(bursts: Mapping[int, Mapping[str, Sequence[Figures]]], settings: Mapping[int, str]) -> str:
    """Texts a second of both sides, a row a length, and their ratio round by round."""
    header = ("tokens at most", "this project", "Trainer", "its padding", "ratio", "others took at most")
    rows = []
    for length, found in bursts.items():
        ours, theirs = ([float(burst["per_second"]) for burst in found[side]] for side in (OURS, THEIRS))
        medians = (f"{spread(speeds).median:.1f}" for speeds in (ours, theirs))
        others = in_percent([*found[OURS], *found[THEIRS]])
        rows.append((str(length), *medians, settings[length], in_words(ratios(ours, theirs)), others))
    return markdown_table(header, rows)


def in_words(ratio: Spread) -> str:
    """A ratio with its range."""
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def accuracy_table(trainings: Sequence[Figures]) -> str:
    """Seconds and accuracy of both sides after one epoch, a row a number of texts."""
    names = ("this project", "Trainer")
    header = ("texts", *names, "ratio", "others took at most", *names, "difference", "95 % interval")
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


def target_sentence(target: float, trainings: Sequence[Figures]) -> str:
    """How long it takes each side to be so accurate."""
    ours, theirs = (seconds_to(target, side, trainings) for side in (OURS, THEIRS))

    def cell(seconds: float | None) -> str:
        return "not reached" if seconds is None else f"{seconds:.0f} s"

    sentence = f"Accuracy {target:.1%}: this project {cell(ours)}, Trainer {cell(theirs)}"
    return sentence if ours is None or theirs is None else f"{sentence}, {theirs / ours:.2f} times as long"


def lengths_of(text: str) -> list[int]:
    """Whole numbers with commas between them.

    Raises:
        BenchError: one is none, or too small.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) >= 8 for word in words):
        raise BenchError(f"--lengths: expected whole numbers from 8 on with commas between them, got {text!r}")
    return [int(word) for word in words]


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Holds the set: aclImdb_v1.tar.gz or aclImdb/, or a folder with another name.",
)
@click.option("--set", "set_name", default="imdb", type=click.Choice(list(SETS)), help="Of texts.")
@click.option("--work-dir", default="runs/bench", type=click.Path(path_type=Path), help="For all that is made.")
@click.option("--parts", default=",".join(PARTS), help="What is measured, with a comma between.")
@click.option("--lengths", default="256,512", help="Most tokens of a text for the speeds, with commas between.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Of each speed, both sides in each.")
@click.option("--burst-texts", default=480, type=click.IntRange(16), help="Of an epoch of which a speed is taken.")
@click.option(
    "--tries",
    default=3,
    type=click.IntRange(1),
    help=f"Of a speed during which others take more than {_OTHERS:.0%} of the cores; the quietest counts.",
)
@click.option(
    "--texts", default=8000, type=click.IntRange(0), help="Of the largest training for the accuracy; 0: all there are."
)
@click.option(
    "--halvings", default=2, type=click.IntRange(0), help="Smaller trainings, each on half the texts of the next."
)
@click.option("--length", default=256, type=click.IntRange(8), help="Most tokens of a text for the accuracy.")
@click.option(
    "--validation-texts", default=2000, type=click.IntRange(0), help="That accuracy is measured on; 0: all there are."
)
@click.option("--target", default=0.86, type=click.FloatRange(0, 1), help="Accuracy that both are to reach.")
@recipe_options
@click.option("--cores", default=2, type=click.IntRange(1), help="For each side.")
@click.option(
    "--peers-python",
    default=sys.executable,
    help="Interpreter that has bench/requirements.txt.",
    show_default="this one",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every figure here.")
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
    """Measure training, beside the Hugging Face Trainer."""
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
    click.echo(f"\nTexts a second of the Trainer:\n\n{setting_table(of_settings)}")
    figures: Figures = {"settings": of_settings}
    if SPEED in wanted:
        figures[SPEED] = {each: bench.speed(each, settings[each], rounds) for each in measured}
        click.echo(
            f"\nTexts a second, medians of {rounds} rounds, and ratios round by round:\n\n"
            f"{speed_table(figures[SPEED], settings)}"
        )
    if ACCURACY in wanted:
        counts = growing(texts or len(found.data.train), halvings)
        trainings = [bench.trained(count, length, settings[length]) for count in counts]
        figures[ACCURACY] = trainings
        click.echo(
            f"\nSeconds of one epoch, and accuracy after it on {trainings[-1]['validation_texts']:,} validation "
            f"texts, {length} tokens:\n\n{accuracy_table(trainings)}\n\n{target_sentence(target, trainings)}"
        )
    if json_path is not None:
        options = click.get_current_context().params
        content = {"machine": machine, "recipe": dataclasses.asdict(recipe), "options": options, "figures": figures}
        write_json(json_path, content)


if __name__ == "__main__":
    main()
