"""Inference: score texts with a saved model: a list, a live prompt, folders of reviews, or a file row by row."""

import contextlib
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import click

from textclf.cli.commands import Group
from textclf.data.dataset_layout import data_root
from textclf.data.feedback_store import save_review
from textclf.data.readers import class_folders, visible_entries
from textclf.data.tables import UndecodableRowError, column_names, read_rows, table_format
from textclf.errors import DatasetError, InputError
from textclf.files import remove_leftovers
from textclf.labels import label_choice, parse_label
from textclf.report.versions import compare_versions, describe_version, describe_versions
from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.runtime.file_scoring import ENDINGS, Fields, OnBad, ScoringReport, check_ending, row_writer, score_rows
from textclf.runtime.loading import load_predictor
from textclf.runtime.predictor import TOKENS_PER_BATCH, Prediction, Predictor
from textclf.store.model_store import ModelStore, ModelVersion, open_model

EXIT = "exit"
_STAGES = {LINEAR: "by the linear stage", ENCODER: "by the encoder"}
# Parts of a data set's root that hold class folders, the one that no model was trained on first.
_PARTS = ("test", "train")


@dataclass(frozen=True)
class ScoredReview:
    """A labelled text from disk and what the model says of it.

    Attributes:
        path: its file.
        text: the review.
        label: its class, the name of its folder.
        prediction: the model's.
    """

    path: Path
    text: str
    label: str
    prediction: Prediction

    @property
    def is_right(self) -> bool:
        """Whether the model predicted the label."""
        return self.prediction.label == self.label


class Inference:
    """Scores texts; the model is loaded, and its files compared with their hashes, when first needed.

    One object may be shared by threads.

    Args:
        model_path: a model store (its current version), one version's folder, or a plain SavedModel folder.
        class_names: of a plain SavedModel, in the order of its outputs; a version knows its own.
        save_dir: where labelled reviews are stored.
        seed: of the random choice of files; None chooses anew each time.
        tokens_per_batch: a batch holds at most so many tokens, padding included.
        threads: to compute with; None takes all cores.
        cascade: let the version's linear stage, if it has one, answer what it is sure of; else the encoder answers all.
    """

    def __init__(
        self,
        model_path: Path | str = "model",
        class_names: Sequence[str] | None = None,
        save_dir: Path | str = "new_data/train",
        seed: int | None = None,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        threads: int | None = None,
        cascade: bool = True,
    ) -> None:
        self.model_path = model_path
        self.class_names = class_names
        self.save_dir = save_dir
        self.seed = seed
        self.tokens_per_batch = tokens_per_batch
        self.threads = threads
        self.cascade = cascade
        self._predictor: Predictor | None = None
        self._loading = threading.Lock()

    @property
    def predictor(self) -> Predictor:
        """The loaded model.

        Raises:
            ModelStoreError: there is none, it is damaged, or it can't be loaded.
            ConfigError: class_names are not the model's.
        """
        with self._loading:
            if self._predictor is None:
                self._predictor = load_predictor(
                    self.model_path, self.class_names, self.tokens_per_batch, self.threads, self.cascade
                )
            return self._predictor

    def warm_up(self) -> None:
        """Load the model and prepare it, so that no later call takes longer than computing does.

        Raises:
            ModelStoreError, ConfigError: as for predictor.
        """
        self.predictor.warm_up()

    @overload
    def predict(self, texts: str) -> Prediction: ...

    @overload
    def predict(self, texts: list[str] | tuple[str, ...]) -> list[Prediction]: ...

    def predict(self, texts: str | list[str] | tuple[str, ...]) -> Prediction | list[Prediction]:
        """A Prediction for a text, or for a list of texts a list of them in the same order.

        Raises:
            InputError: neither a str nor a list of str; names the first bad item.
        """
        if isinstance(texts, str):
            return self.predictor.predict([texts])[0]
        return self.predictor.predict(texts)

    def predict_live_result(self, text: str, sentiment: str | int | None = None) -> Prediction:
        """Score a text; with its true label (see save_to_directory) store it too, in save_dir.

        Raises:
            InputError: `text` is not a str, or `sentiment` not a label; nothing is stored.
        """
        if sentiment is not None:
            self._label(sentiment)
        prediction = self.predict(text)
        if sentiment is not None:
            self.save_to_directory(text, sentiment)
        return prediction

    def save_to_directory(self, text: str, sentiment: str | int, save_dir: Path | str | None = None) -> Path:
        """Store a labelled review, to be trained on later: the path of <save_dir>/<class>/<uuid>.txt.

        Args:
            text: the review.
            sentiment: a class name, or for two classes 0 or 1.
            save_dir: None stores in the constructor's.

        Raises:
            InputError: it is not a label of this model, or the text can't be stored.
        """
        folder = self.save_dir if save_dir is None else save_dir
        return save_review(text, self._label(sentiment), folder, self.predictor.class_names)

    def run_live_inference(self) -> None:
        """Ask for reviews until `exit` (or the end of the input, or Ctrl-C), show the score of each, and ask for
        its true label: an answer stores the review in save_dir, an empty one does not.
        """
        names = self.predictor.class_names
        choice = label_choice(names)
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            while (text := input(f"Review ({EXIT} to stop): ").strip()).lower() != EXIT:
                if not text:
                    continue
                try:
                    prediction = self.predict(text)
                except InputError as error:
                    click.echo(f"  {error}")
                    continue
                click.echo(f"  {_verdict(prediction)}")
                if not self._ask_for_label(text, f"  Its true label ({choice}; empty to skip): "):
                    break
            return
        click.echo()

    def run_batch_inference(
        self, dir_path: Path | str, num_files: int = 3, seed: int | None = None
    ) -> list[ScoredReview]:
        """Score random files of every class folder, and print review, label and score, and at the end the accuracy.

        Args:
            dir_path: a folder of class folders with .txt files, or a data set's root: its test/, else its train/.
            num_files: from each class; a class that has fewer gives all.
            seed: of the choice; None takes the constructor's.

        Raises:
            DatasetError: no such folder, no class folder or one that is no class of the model, no file, or one
                that is not UTF-8.
            InputError: num_files is below 1.
        """
        if num_files < 1:
            raise InputError(f"num_files: expected at least 1, got {num_files!r}")
        chosen = self._choose_files(Path(dir_path), num_files, random.Random(self.seed if seed is None else seed))  # noqa: S311
        texts = [_read(path) for path in chosen]
        results = [
            ScoredReview(path, text, path.parent.name, prediction)
            for path, text, prediction in zip(chosen, texts, self.predict(texts), strict=True)
        ]
        for result in results:
            click.echo(f"{result.path}\n  {_shortened(result.text)}")
            click.echo(f"  {result.label} -> {_verdict(result.prediction)}{'' if result.is_right else '  WRONG'}")
        right = sum(result.is_right for result in results)
        click.echo(f"accuracy: {right} of {len(results)} right ({right / len(results):.1%})")
        return results

    def score_file(
        self,
        input_path: Path | str,
        output_path: Path | str,
        text_column: str = "text",
        skip_bad: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> ScoringReport:
        """Score every row of a CSV or JSONL file into another, in constant memory (see textclf.runtime.file_scoring).

        Args:
            input_path: ends in .csv or .jsonl, or either with .gz.
            output_path: the same; may be of the other form. It appears whole at the end, or not at all.
            text_column: the column, or field, with the text.
            skip_bad: leave out the rows that can't be scored, instead of stopping at the first.
            on_progress: called with the bytes of the input that are read.

        Raises:
            DatasetError: the input can't be read.
            InputError: an ending, a column or a row is not what it should be; both paths are one file.
        """
        source, target = Path(input_path), Path(output_path)
        check_ending(target)
        if table_format(source) not in ("csv", "jsonl"):
            raise InputError(f"{source}: expected a file name that ends in {', '.join(ENDINGS)}")
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{target}: the output would replace the input; name another file")
        columns = _columns(source, text_column)

        def read(on_bad: OnBad) -> Iterator[tuple[int, Fields]]:
            def on_bad_row(number: int, error: DatasetError) -> None:
                on_bad(number, _reason(source, number, error))

            return read_rows(source, on_bad=on_bad_row, on_progress=on_progress)

        predictor = self.predictor
        remove_leftovers(target.parent)
        with row_writer(target, predictor.class_names, columns) as write:
            return score_rows(read, predictor, write, text_column, skip_bad)

    def _label(self, sentiment: str | int) -> str:
        return parse_label(str(sentiment), self.predictor.class_names)

    def _ask_for_label(self, text: str, question: str) -> bool:
        """Ask until the answer is a label or empty; False if it is `exit`."""
        while answer := input(question).strip():
            try:
                path = self.save_to_directory(text, answer)
            except InputError as error:
                if answer.lower() == EXIT:
                    return False
                click.echo(f"  {error}")
                continue
            except OSError as error:
                click.echo(
                    f"  not stored: {error.filename or self.save_dir}: {error.strerror}; choose another --save-dir"
                )
                break
            click.echo(f"  stored as {path}")
            break
        return True

    def _choose_files(self, folder: Path, num_files: int, chance: random.Random) -> list[Path]:
        """Up to `num_files` .txt files of each class folder, class by class."""
        if not folder.is_dir():
            raise DatasetError(f"{folder}: expected a folder of class folders with .txt files, found no such folder")
        folder = data_root(folder)
        names = self.predictor.class_names
        for part in _PARTS:
            if part not in names and (folder / part).is_dir():
                folder = folder / part
                break
        found = class_folders(folder)
        unknown = [entry.name for entry in found if entry.name not in names]
        if unknown or not found:
            raise DatasetError(
                f"{folder}: expected folders named like the classes of the model ({', '.join(names)}), "
                f"found {', '.join(unknown) or 'none'}; name such a folder, or a data set's root"
            )
        chosen = []
        for class_folder in found:
            files = [
                entry.path
                for entry in visible_entries(Path(class_folder.path))
                if entry.name.endswith(".txt") and entry.is_file()
            ]
            if not files:
                raise DatasetError(f"{class_folder.path}: expected .txt files in the folder of a class, found none")
            chosen += [Path(path) for path in sorted(chance.sample(files, min(num_files, len(files))))]
        if not chosen:
            raise DatasetError(f"{folder}: expected .txt files in the class folders, found none")
        return chosen


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected UTF-8 text: {error}; convert the file, or remove it") from error


def _columns(source: Path, text_column: str) -> list[str]:
    """The columns of a CSV file; of JSONL the keys of the first row that has the text, [] if none has.

    Raises:
        DatasetError: the file can't be read.
        InputError: the CSV has no such column.
    """
    if table_format(source) == "jsonl":
        rows = read_rows(source, on_bad=lambda _number, _error: None)
        return next((list(row) for _, row in rows if isinstance(row.get(text_column), str)), [])
    columns = column_names(source)
    if text_column not in columns:
        raise InputError(
            f"{source}: expected a column {text_column!r} with the text, found {', '.join(columns)}; "
            f"name the column with --text-column"
        )
    return columns


def _reason(source: Path, number: int, error: DatasetError) -> InputError:
    """Why a row can't be read, without the place, which is said anyway."""
    if isinstance(error, UndecodableRowError):
        return InputError("not well-formed UTF-8; convert the file (iconv -f latin1 -t utf-8, if it is Latin-1)")
    return InputError(str(error).removeprefix(f"{source}, row {number} "))


def _shortened(text: str, most: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}…"


def _verdict(prediction: Prediction) -> str:
    probabilities = ", ".join(f"{name} {value:.3f}" for name, value in prediction.probabilities.items())
    cut = "; only a part of the text was read" if prediction.truncated else ""
    stage = "" if prediction.stage is None else f"; {_STAGES[prediction.stage]}"
    return f"{prediction.label}  (score {prediction.score:.4f}: {probabilities}{cut}{stage})"


@click.group(cls=Group)
@click.option(
    "--model-path",
    type=click.Path(path_type=Path),
    default="model",
    metavar="DIR",
    help="A model store (its current version), one version's folder, or a plain SavedModel folder.",
)
@click.option(
    "--class-names",
    metavar="A,B,…",
    help="Class names of a plain SavedModel, in the order of its outputs; a version knows its own.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    show_default="all cores",
    help="Threads to compute with; TensorFlow, for a plain SavedModel, takes its own.",
)
@click.option(
    "--no-cascade",
    is_flag=True,
    help="Let the encoder answer every text, also those that a version's linear stage is sure of.",
)
@click.pass_context
def main(
    context: click.Context, model_path: Path, class_names: str | None, threads: int | None, no_cascade: bool
) -> None:
    """Score texts with a saved model, or look at the saved models.

    \b
    Examples:
      python inference.py live
      python inference.py batch datasets/aclImdb_v1 --num-files 5 --seed 1
      python inference.py score --input reviews.csv --output scored.jsonl.gz
      python inference.py --model-path demo/model versions
    """
    names = None if class_names is None else tuple(name.strip() for name in class_names.split(","))
    context.obj = Inference(model_path, names, threads=threads, cascade=not no_cascade)


@main.command()
@click.option(
    "--save-dir",
    type=click.Path(path_type=Path),
    default="new_data/train",
    metavar="DIR",
    help="Where the reviews that you label are stored, as DIR/<class>/<uuid>.txt.",
)
@click.pass_obj
def live(inference: Inference, save_dir: Path) -> None:
    """Type reviews and see scores until `exit`.

    After each, its true label may be given; then the review is stored for the next training. Reviews and
    answers may be piped in, one a line.

    \b
    Example:
      python inference.py --model-path demo/model live --save-dir new_data/train
    """
    inference.save_dir = save_dir
    if hasattr(sys.stdin, "reconfigure"):
        # A byte that is not UTF-8 then becomes a lone surrogate, which predict() refuses in words.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    inference.run_live_inference()


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--num-files", type=click.IntRange(min=1), default=3, help="Files of each class.")
@click.option("--seed", type=int, help="The same seed chooses the same files; without it the choice is new each time.")
@click.pass_obj
def batch(inference: Inference, path: Path, num_files: int, seed: int | None) -> None:
    """Score random files of every class folder.

    PATH holds folders named like the model's classes, with .txt files in them; or it is a data set's root,
    of which test/ is taken, else train/. A folder `unsup` is ignored. Prints each review, its label and
    score, and at the end the accuracy.

    \b
    Example:
      python inference.py --model-path demo/model batch data/sample --num-files 5 --seed 1
    """
    inference.run_batch_inference(path, num_files, seed)


@main.command()
@click.option(
    "--input", "input_path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Texts to score."
)
@click.option(
    "--output",
    "output_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the scored rows go; a file that is there is replaced.",
)
@click.option("--text-column", default="text", help="The column with the text.")
@click.option("--skip-bad", is_flag=True, help="Leave out rows that can't be scored and list them at the end.")
@click.option(
    "--tokens-per-batch",
    type=click.IntRange(min=1),
    default=TOKENS_PER_BATCH,
    help="Wordpieces scored at a time, padding included; fewer need less memory.",
)
@click.pass_obj
def score(
    inference: Inference, input_path: Path, output_path: Path, text_column: str, skip_bad: bool, tokens_per_batch: int
) -> None:
    """Score every row of a file into another.

    Both are CSV or JSONL, by the ending (.csv, .jsonl, or either with .gz). A row keeps its fields in their
    order and gains `label`, `score` (of two classes the probability of the second, of more that of the label),
    `probabilities` (in CSV a column `p:<class>` for each class) and `truncated`. The input's own `label` is
    kept as `input_label`, and the accuracy is printed; an input that has one of the other columns already is
    refused. The output appears whole at the end, or not at all. Memory does not grow with the file. Of a version
    with a cascade, how many rows each stage answered is printed, too.

    \b
    Example:
      python inference.py score --input reviews.csv --output scored.jsonl --text-column review --skip-bad
    """
    inference.tokens_per_batch = tokens_per_batch
    with _progress(input_path) as on_progress:
        report = inference.score_file(input_path, output_path, text_column, skip_bad, on_progress)
    click.echo(f"{output_path}: rows scored: {report.scored}")
    if report.skipped:
        click.echo(f"skipped {report.skipped} of {report.rows} rows:", err=True)
        for number, reason in report.skipped_rows:
            click.echo(f"  row {number}: {reason}", err=True)
        if report.skipped > len(report.skipped_rows):
            click.echo(f"  … and {report.skipped - len(report.skipped_rows)} more", err=True)
    if report.unknown_labels:
        click.echo(f"{report.unknown_labels} rows have a label that is no class of the model", err=True)
    if inference.predictor.cascade is not None:
        click.echo(f"answered {', '.join(f'{by}: {report.stages[stage]}' for stage, by in _STAGES.items())}")
    if report.accuracy is not None:
        click.echo(f"accuracy: {report.correct} of {report.labelled} labelled rows right ({report.accuracy:.2%})")


@contextlib.contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of a file, on stderr, if a person is looking: what moves it to so many bytes."""
    done = 0
    bar: Any = None
    with contextlib.ExitStack() as until_the_end:

        def move_to(position: int) -> None:
            nonlocal done, bar
            if bar is None:
                # Not earlier: the time that a model takes to load would count as slow reading.
                size = path.stat().st_size
                hidden = not sys.stderr.isatty()
                steps = max(1, size // 1000)
                bar = click.progressbar(length=size, file=sys.stderr, hidden=hidden, update_min_steps=steps)
                until_the_end.enter_context(bar)
            bar.update(position - done)
            done = position

        yield move_to


@main.command()
@click.pass_obj
def versions(inference: Inference) -> None:
    """List the versions of the model store.

    \b
    Example:
      python inference.py --model-path demo/model versions
    """
    store = ModelStore(inference.model_path)
    store.check_exists()
    click.echo(describe_versions(store))


@main.command()
@click.argument("version", metavar="[ID]", required=False)
@click.pass_obj
def inspect(inference: Inference, version: str | None) -> None:
    """Show one version: the current one, or ID.

    ID may also be a version's folder.

    \b
    Example:
      python inference.py --model-path demo/model inspect
    """
    click.echo(describe_version(_version(inference.model_path, version)))


@main.command()
@click.argument("a")
@click.argument("b")
@click.pass_obj
def compare(inference: Inference, a: str, b: str) -> None:
    """Show two versions side by side.

    A and B are ids of the model store, or folders of versions.

    \b
    Example:
      python inference.py --model-path demo/model compare 20260101T120000000Z-0a1b2c 20260102T120000000Z-3d4e5f
    """
    click.echo(compare_versions(_version(inference.model_path, a), _version(inference.model_path, b)))


def _version(model_path: Path | str, name: str | None) -> ModelVersion:
    if name is None:
        return open_model(model_path)
    return open_model(name) if Path(name).is_dir() else ModelStore(model_path).open(name)


if __name__ == "__main__":
    main()
