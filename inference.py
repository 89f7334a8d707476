"""Inference: score a list of texts, typed reviews, folders of reviews, or a file with a saved model."""

import csv
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack, overload

import click

from textclf.cli.commands import Group
from textclf.cli.config_file import config_text, options_of
from textclf.cli.live_prompt import run_live_prompt
from textclf.cli.options import field_option, given_options, reading_options, recorded_options
from textclf.config import DataOptions
from textclf.data.feedback_store import save_review
from textclf.data.sample_files import sample_files
from textclf.data.scoring_input import open_input
from textclf.errors import InputError
from textclf.explain.command import explain
from textclf.explain.explainer import ExplainArguments, Explainer
from textclf.explain.explanation import Explanation
from textclf.fields import whole
from textclf.files import remove_leftovers
from textclf.label_column import label_choice, label_text, parse_label
from textclf.report.excerpts import excerpt
from textclf.report.model_card import model_card
from textclf.report.version_config import config_comments, training_values
from textclf.report.versions import compare_versions, describe_version, describe_versions
from textclf.rules.loading import with_rules
from textclf.runtime.file_scoring import check_ending, marks_of, row_writer, score_rows
from textclf.runtime.loading import load_predictor
from textclf.runtime.prediction import Prediction, in_words
from textclf.runtime.predictor import TOKENS_PER_BATCH, Predictor
from textclf.runtime.scored_review import ScoredReview
from textclf.runtime.scoring_report import ScoringReport
from textclf.sharding.command import score
from textclf.store.model_store import ModelStore, find_version

_PATH = click.Path(path_type=Path)


@dataclass(eq=False, repr=False)
class Inference:
    """Scores texts with a saved model.

    The model is loaded, and the hashes of its files are checked, when it is first needed. Threads may share one object.

    Args:
        model_path: a model store (its current version), one version's folder, or a plain SavedModel folder.
        class_names: class names of a plain SavedModel in the order of its outputs; a version contains its own.
        save_dir: folder for labelled reviews.
        seed: random seed for the choice of files; None gives another choice each time.
        tokens_per_batch: maximum tokens of a batch, padding included.
        threads: number of threads; None uses all cores.
        cascade: whether the version's linear stage predicts the texts it is sure of; if false, or without such a
            stage, the encoder reads every text.
        rules: file with rules that are applied to every text and prediction (docs/rules.md); None for none.
    """

    model_path: Path | str = "model"
    class_names: Sequence[str] | None = None
    save_dir: Path | str = "new_data/train"
    seed: int | None = None
    tokens_per_batch: int = TOKENS_PER_BATCH
    threads: int | None = None
    cascade: bool = True
    rules: Path | str | None = None
    _predictor: Predictor | None = field(default=None, init=False)
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def predictor(self) -> Predictor:
        """The loaded model.

        Raises:
            ModelStoreError: if there is no model, or it is damaged or can't be loaded.
            ConfigError: if class_names differ from the model's classes, or the rules are invalid.
        """
        with self._loading:
            if self._predictor is None:
                predictor = load_predictor(
                    self.model_path, self.class_names, self.tokens_per_batch, self.threads, self.cascade
                )
                self._predictor = with_rules(predictor, self.rules)
            return self._predictor

    def warm_up(self) -> None:
        """Load and prepare the model, so that later calls only compute; raises like `predictor`."""
        self.predictor.warm_up()

    @overload
    def predict(self, texts: str) -> Prediction: ...

    @overload
    def predict(self, texts: list[str] | tuple[str, ...]) -> list[Prediction]: ...

    def predict(self, texts: str | list[str] | tuple[str, ...]) -> Prediction | list[Prediction]:
        """The Prediction for a text; for a list of texts, a list of Predictions in the same order.

        Raises:
            InputError: if `texts` is neither a str nor a list of str; names the first bad item.
            RuleError: if a rule fails.
        """
        if isinstance(texts, str):
            return self.predictor.predict([texts])[0]
        return self.predictor.predict(texts)

    @overload
    def explain(self, texts: str, **options: Unpack[ExplainArguments]) -> Explanation: ...

    @overload
    def explain(self, texts: list[str] | tuple[str, ...], **options: Unpack[ExplainArguments]) -> list[Explanation]: ...

    def explain(
        self, texts: str | list[str] | tuple[str, ...], **options: Unpack[ExplainArguments]
    ) -> Explanation | list[Explanation]:
        """The value of each word for each class: an Explanation for a text, a list of them for a list.

        The options are the arguments of textclf.explain.explainer.Explainer.explain with these names.

        Raises:
            InputError: if an argument is invalid, or the model is a SavedModel, which can't be explained.
            ModelStoreError: if predict() or `predictor` would raise it, or the values do not match the prediction.
        """
        found = Explainer(self.predictor).explain([texts] if isinstance(texts, str) else texts, **options)
        return found[0] if isinstance(texts, str) else found

    def predict_live_result(self, text: str, sentiment: str | int | None = None) -> Prediction:
        """Score a text and, if its true label is given, store it in save_dir (see save_to_directory).

        Raises:
            InputError: if `text` is not a str, or `sentiment` is not a label; nothing is stored.
        """
        if sentiment is not None:
            self._label(sentiment)
        prediction = self.predict(text)
        if sentiment is not None:
            self.save_to_directory(text, sentiment)
        return prediction

    def save_to_directory(self, text: str, sentiment: str | int, save_dir: Path | str | None = None) -> Path:
        """Store a labelled review for later training; returns its path <save_dir>/<class>/<uuid>.txt.

        Args:
            text: the review.
            sentiment: a class name, or for two classes 0 or 1.
            save_dir: target folder; None uses the constructor's.

        Raises:
            InputError: if `sentiment` is not a label of this model, or the text can't be stored.
        """
        folder = self.save_dir if save_dir is None else save_dir
        return save_review(text, self._label(sentiment), folder, self.predictor.class_names)

    def run_live_inference(self) -> None:
        """Prompt for reviews until `exit`, the end of the input or Ctrl-C, and print the score of each.

        Then prompt for its true label. A label stores the review in save_dir; an empty line does not.

        Raises:
            InputError: if a line of piped input is no review or no label; names the line.
        """

        def score(text: str) -> str:
            return in_words(self.predict(text))

        run_live_prompt(score, self.save_to_directory, label_choice(self.predictor.class_names))

    def run_batch_inference(
        self, dir_path: Path | str, num_files: int = 3, seed: int | None = None, encoding: str = ""
    ) -> list[ScoredReview]:
        """Score random files of every class folder; print review, label and score, then the accuracy.

        Args:
            dir_path: a folder of class folders with .txt files, or a data set's root; its test/ is used, else train/.
            num_files: maximum number of files per class.
            seed: random seed of the choice; None uses the constructor's.
            encoding: encoding of files without a byte-order mark; "" detects it.

        Raises:
            DatasetError: if the folders are not those of the model's classes, or a file is missing or can't be decoded.
            InputError: if num_files is below 1.
        """
        if num_files < 1:
            raise InputError(f"num_files: expected at least 1, got {num_files!r}")
        seed = self.seed if seed is None else seed
        predictor = self.predictor
        chosen = sample_files(Path(dir_path), predictor.class_names, num_files, seed, predictor.other_names, encoding)
        predictions = self.predict([file.text for file in chosen])
        results = [ScoredReview(*file, prediction) for file, prediction in zip(chosen, predictions, strict=True)]
        for result in results:
            click.echo(f"{result.path}\n  {excerpt(result.text)}")
            click.echo(f"  {result.label} -> {in_words(result.prediction)}{'' if result.is_right else '  WRONG'}")
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
        for_spreadsheets: bool = False,
        rename_labels: Mapping[str, str] | None = None,
        encoding: str = "",
        label_column: str = "label",
    ) -> ScoringReport:
        """Score every row of a file and write it to another, in constant memory (see textclf.runtime.file_scoring).

        Args:
            input_path: a table (see textclf.data.tables).
            output_path: file that ends in .csv, .csv.gz, .jsonl or .jsonl.gz. The complete file appears at the end.
            text_column: column or field that contains the text; the default also stands for its synonyms.
            skip_bad: skip rows that can't be scored, instead of refusing the file.
            on_progress: called with the number of bytes read so far.
            for_spreadsheets: put an apostrophe before each text of a CSV output that starts like a formula.
            rename_labels: class names by labels of the file, for the accuracy.
            encoding: encoding of a text file without a byte-order mark; "" detects UTF-8 and UTF-16.
            label_column: column of the rows' own labels, for the accuracy; the default may be missing.

        Raises:
            DatasetError: if the input can't be read.
            InputError: if an ending, a column or a row is invalid, or both paths are the same file.
        """
        source, target = Path(input_path), Path(output_path)
        check_ending(target)
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{target}: the output would replace the input; name another file")
        table = open_input(source, text_column, label_column, encoding)
        text_column, labels, _ = table.columns
        read = functools.partial(table.rows, on_progress=on_progress)
        predictor = self.predictor
        remove_leftovers(target.parent)
        with row_writer(target, predictor.class_names, table.names, for_spreadsheets, *marks_of(predictor)) as write:
            report = score_rows(read, predictor, write, text_column, skip_bad, rename_labels, labels, source)
        return dataclasses.replace(report, columns=table.note)

    def _label(self, sentiment: str | int) -> str:
        return parse_label(label_text(sentiment) or "", self.predictor.class_names)


@dataclass(frozen=True)
class _Numbers:
    """Numbers on the command line."""

    threads: int | None = whole(
        None, "Number of threads; not for a plain SavedModel, where TensorFlow decides.", min=1, shown="all cores"
    )
    num_files: int = whole(3, "Maximum number of files per class.", min=1)


@click.group(cls=Group, commands=[explain, score])
@click.option(
    "--model-path",
    type=_PATH,
    default="model",
    metavar="DIR",
    help="A model store (its current version), one version's folder, or a plain SavedModel folder.",
)
@click.option(
    "--class-names",
    metavar="A,B,…",
    help="Class names of a plain SavedModel in the order of its outputs; a version contains its own.",
)
@field_option(_Numbers, "threads", is_checked=True)
@click.option("--no-cascade", is_flag=True, help="Let the encoder read every text, without the linear stage.")
@click.option("--rules", type=_PATH, metavar="FILE", help="Rules in Python or TOML for texts and predictions.")
@click.pass_context
def main(context: click.Context, /, class_names: str | None, no_cascade: bool, **options: Any) -> None:
    """Score texts with a saved model, or show the saved models.

    \b
    Examples:
      python inference.py live
      python inference.py batch data/sample --num-files 5 --seed 1
      python inference.py score --input reviews.csv --output scored.jsonl.gz
      python inference.py --model-path demo/model versions
    """
    # A name with a comma needs quotes, as in CSV.
    words = next(csv.reader([class_names or ""], skipinitialspace=True), [])
    names = None if class_names is None else tuple(map(str.strip, words))
    context.obj = Inference(class_names=names, cascade=not no_cascade, **options)


@main.command()
@click.option(
    "--save-dir",
    type=_PATH,
    default="new_data/train",
    metavar="DIR",
    help="Folder for the reviews that you label, as DIR/<class>/<uuid>.txt.",
)
@click.pass_obj
def live(inference: Inference, save_dir: Path) -> None:
    """Type reviews and see scores until `exit`.

    After each review you may type its true label; then the review is stored for the next training. Reviews and labels
    may also be piped in, one per line, an empty line for no label. A line that is no label ends the command.

    \b
    Example:
      python inference.py --model-path demo/model live --save-dir new_data/train
    """
    inference.save_dir = save_dir
    if hasattr(sys.stdin, "reconfigure"):
        # A byte that is not UTF-8 becomes a lone surrogate, which predict() refuses with a clear message.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    inference.run_live_inference()


@main.command()
@click.argument("path", type=_PATH)
@field_option(_Numbers, "num_files", is_checked=True)
@click.option("--seed", type=int, help="Random seed; the same seed chooses the same files.")
@field_option(DataOptions, "encoding")
@click.pass_obj
def batch(inference: Inference, path: Path, num_files: int, seed: int | None, encoding: str) -> None:
    """Score random files of every class folder.

    PATH contains folders named like the model's classes, with .txt files in them; or it is a data set's root, whose
    test/ is used, else train/. A folder `unsup` is ignored. The output ends with the accuracy.

    \b
    Example:
      python inference.py --model-path demo/model batch data/sample --num-files 5 --seed 1
    """
    inference.run_batch_inference(path, num_files, seed, encoding)


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
@click.option("--config", "is_config", is_flag=True, help="Print the configuration file that trains it again.")
@click.option("--card", "is_card", is_flag=True, help="Print the model card as Markdown, for people and the Hub.")
@click.option("--html", type=_PATH, metavar="OUT", help="Write the evaluation of the version as an HTML page.")
@click.option("--dataset-path", type=_PATH, help="Data set of the training, for a page with the texts of errors.")
@reading_options
@click.pass_obj
def inspect(
    inference: Inference, /, version: str | None, html: Path | None, dataset_path: Path | None, **flags: Any
) -> None:
    """Show one version: the current one, or ID (also a version's folder).

    The data set is read as at the training, except for the options given here.

    \b
    Examples:
      python inference.py --model-path demo/model inspect
      python inference.py --model-path demo/model inspect --config > run.toml
      python inference.py --model-path demo/model inspect --card > README.md
      python inference.py --model-path demo/model inspect --html evaluation.html --dataset-path data/sample
    """
    found = find_version(inference.model_path, version)
    if html is not None:
        from textclf.evaluation.version_page import write_evaluation_page  # Needs Jinja.

        write_evaluation_page(found, html, dataset_path, inference.threads, given_options(DataOptions))
        click.echo(f"page:          {html.resolve()}")
    elif flags["is_card"]:
        click.echo(model_card(found.manifest), nl=False)
    elif flags["is_config"]:
        values, comments = training_values(found.manifest), config_comments(found.manifest)
        click.echo(config_text(options_of(recorded_options), values, comments), nl=False)
    else:
        click.echo(describe_version(found))


@main.command()
@click.argument("a")
@click.argument("b")
@click.pass_obj
def compare(inference: Inference, a: str, b: str) -> None:
    """Show two versions side by side.

    A and B are version ids of the model store, or folders of versions.

    \b
    Example:
      python inference.py --model-path demo/model compare 20260101T120000000Z-0a1b2c 20260102T120000000Z-3d4e5f
    """
    click.echo(compare_versions(find_version(inference.model_path, a), find_version(inference.model_path, b)))


if __name__ == "__main__":
    main()
