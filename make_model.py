"""MakeModel: builds a small BERT encoder, its preprocessing and a classification layer as one Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from textclf.cli.commands import Group
from textclf.cli.options import encoder_options
from textclf.config import DEFAULT_ENCODER_HANDLE, DEFAULT_MODEL_NAME, DEFAULT_PREPROCESS_HANDLE, ModelOptions
from textclf.errors import ConfigError, InputError
from textclf.stats.calibration import softmax

if TYPE_CHECKING:
    # Importing TensorFlow takes seconds: only the verbs import it, so that --help is quick.
    from textclf.tokenization.text_key import TextKeys
    from textclf.training.encoders.preprocessing import TextPreprocessing
    from textclf.training.encoders.resolve import EncoderFolders
    from textclf.training.tf_setup import tf_keras


class MakeModel:
    """Builds a text classifier from two TF-Hub handles.

    Args:
        model_name: the encoder's name. A TF-Hub BERT or `minilm-l6` needs no handles.
        name_to_handle: handle of the encoder (see textclf.training.encoders.resolve).
        model_to_handle: handle of its preprocessing; ignored if the encoder includes its own.
        class_names: class names; the position is the class id.
        max_length: wordpieces that a text is truncated to, including [CLS] and [SEP].
        truncation: "head" keeps the beginning of a long text, "head+tail" its beginning and end.
        head_fraction: share of the kept wordpieces that "head+tail" takes from the beginning.
        seed: random seed of the new layer and of the dropout in the encoder.
        pooling: "cls" classifies the encoder's pooled output, "mean" the mean of its outputs for all tokens.
        windows: maximum number of windows that read a long text; with more than 1, nothing is truncated.
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL_NAME,
        name_to_handle: str = DEFAULT_ENCODER_HANDLE,
        model_to_handle: str = DEFAULT_PREPROCESS_HANDLE,
        class_names: Sequence[str] = ("neg", "pos"),
        max_length: int = 256,
        truncation: str = "head",
        head_fraction: float = 0.25,
        seed: int = 42,
        pooling: str = "cls",
        windows: int = 1,
    ) -> None:
        self.model_name = model_name
        self.name_to_handle = name_to_handle
        self.model_to_handle = model_to_handle
        # A single name is one class, not one class per letter.
        self.class_names = (class_names,) if isinstance(class_names, str) else tuple(class_names)
        self.max_length = max_length
        self.truncation = truncation
        self.head_fraction = head_fraction
        self.seed = seed
        self._loaded_encoder: tf_keras.layers.Layer | None = None
        self.pooling = pooling
        self.windows = windows

    @classmethod
    def from_options(cls, options: ModelOptions, **more: Any) -> MakeModel:
        """A MakeModel with these options, except the dropout, which is an argument of build_model()."""
        values = options.to_dict()
        del values["dropout"]
        return cls(**values, **more)

    @cached_property
    def folders(self) -> EncoderFolders:
        """The two SavedModels on disk, downloaded or exported at the first use.

        Raises:
            ConfigError: if an option is invalid.
            EncoderError: if a handle can't be resolved.
        """
        self._check()
        from textclf.training.encoders import resolve as encoders

        return encoders.resolve(self.model_name, self.name_to_handle, self.model_to_handle)

    def select_model(self) -> TextPreprocessing:
        """Print the handles and return the preprocessing layer: strings [batch] -> encoder inputs [batch, seq_len].

        Raises:
            ConfigError: if an option is invalid.
            EncoderError: if a handle can't be resolved.
        """
        folders = self.folders
        click.echo(f"encoder:       {folders.name_to_handle} ({folders.encoder})")
        click.echo(f"preprocessing: {folders.model_to_handle} ({folders.preprocessing})")
        from textclf.training.encoders.family_encoder import head_note

        if note := head_note(folders.encoder):
            click.echo(f"note:          {note}")
        return self._preprocessing

    def preview_untrained_model(self, bert_model: TextPreprocessing, text_test: Sequence[str]) -> None:
        """Print the inputs and outputs of the untrained encoder for texts; `bert_model` is from select_model()."""
        from textclf.training.classifier import ENCODER_INPUTS
        from textclf.training.tf_setup import tf

        inputs = bert_model(tf.constant(_as_list(text_test)))
        outputs = self._encoder({name: inputs[name] for name in ENCODER_INPUTS})
        lines = [f"preprocessing keys: {', '.join(sorted(inputs))}"]
        for title, key in (("word ids", "input_word_ids"), ("mask", "input_mask"), ("type ids", "input_type_ids")):
            values = inputs[key].numpy()
            lines.append(f"{title + ':':17}shape {values.shape}, first text {values[0, :12]}")
        lines.append(f"encoder keys: {', '.join(sorted(outputs))}")
        for title, key in (("pooled output", "pooled_output"), ("sequence output", "sequence_output")):
            values = outputs[key].numpy()
            first = np.array2string(values.reshape(-1, values.shape[-1])[0, :6], precision=3)
            lines.append(f"{title + ':':17}shape {values.shape}, first values {first}")
        click.echo("\n".join(lines))

    def check_encoder(self) -> None:
        """Load the encoder and check the options against it; the next build_model() uses it.

        Raises:
            ConfigError: if an option is invalid.
            EncoderError: if a handle can't be resolved, or max_length is larger than the encoder allows.
        """
        self._check()
        self._loaded_encoder = self._load_encoder()

    def build_model(self, dropout: float = 0.1) -> tf_keras.Model:
        """A new classifier: strings [batch] -> logits [batch, classes].

        Raises:
            ConfigError: if an option is invalid.
            EncoderError: if a handle can't be resolved, or max_length is larger than the encoder allows.
        """
        self._check(dropout)
        from textclf.training.classifier import build_classifier
        from textclf.training.tf_setup import tf_keras

        encoder, self._loaded_encoder = self._loaded_encoder or self._load_encoder(), None
        tf_keras.utils.set_random_seed(self.seed)
        return build_classifier(self._preprocessing, encoder, len(self.class_names), dropout, self.pooling)

    def test_model(self, classifier_model: tf_keras.Model, text_test: Sequence[str]) -> np.ndarray:
        """Print and return the probabilities [batch, classes] of a model; an untrained model is near chance."""
        from textclf.training.tf_setup import tf

        texts = _as_list(text_test)
        probabilities = softmax(classifier_model(tf.constant(texts)).numpy())
        for text, row in zip(texts, probabilities, strict=True):
            scores = ", ".join(f"{name} {p:.3f}" for name, p in zip(self.class_names, row, strict=True))
            click.echo(f"{scores}   {text[:80]}")
        return probabilities

    def see_model_structure(self, classifier_model: tf_keras.Model, to_file: str = "model_structure.png") -> Path:
        """Draw the model's layers as a PNG and return its path."""
        from textclf.report.plots import plot_structure
        from textclf.training.classifier import layers_of

        plot_structure(layers_of(classifier_model), to_file)
        click.echo(f"structure: {to_file}")
        return Path(to_file)

    @cached_property
    def text_keys(self) -> TextKeys:
        """The rule by which two texts are equal to the encoder; without its vocabulary if it is not BERT's.

        Raises:
            ConfigError: if an option is invalid.
            EncoderError: if a handle can't be resolved.
        """
        from textclf.training.export.tokenizer_parity import text_keys_of_preprocessing

        return text_keys_of_preprocessing(self._preprocessing)

    @cached_property
    def _preprocessing(self) -> TextPreprocessing:
        from textclf.training.encoders.preprocessing import preprocessing_in

        reading = self.max_length, self.truncation, self.head_fraction, self.windows
        return preprocessing_in(self.folders.preprocessing, *reading, name="preprocessing")

    @cached_property
    def _encoder(self) -> tf_keras.layers.Layer:
        """The encoder for previews; each build_model() loads the pretrained weights again."""
        return self._load_encoder()

    def _load_encoder(self) -> tf_keras.layers.Layer:
        from textclf.training.classifier import load_encoder

        return load_encoder(self.folders.encoder, self.max_length, self.seed, self._preprocessing.vocabulary_size)

    def _check(self, dropout: float = 0.0) -> None:
        """Check all options before anything is loaded."""
        encoder = self.model_name, self.name_to_handle, self.model_to_handle
        reading = self.max_length, self.truncation, self.head_fraction
        ModelOptions(*encoder, *reading, dropout, self.pooling, self.windows)
        if len(set(self.class_names)) != len(self.class_names) or len(self.class_names) < 2:
            raise ConfigError(f"class_names: expected at least two different names, got {self.class_names!r}")


def _as_list(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str) or not len(texts) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"expected a list of texts, got {texts!r}; put a single text into a list")
    return list(texts)


@click.group(cls=Group)
def main() -> None:
    """Inspect a classifier before it is trained.

    \b
    Examples:
      python make_model.py preview --encoder minilm-l6 --text 'A quiet, funny film.'
      python make_model.py structure --encoder minilm-l6 --to-file model_structure.png
    """


@main.command()
@encoder_options
@click.option(
    "--text", "texts", multiple=True, default=["This is such an amazing movie!"], help="Text; may be repeated."
)
def preview(model_options: ModelOptions, texts: tuple[str, ...]) -> None:
    """Print the encoder's inputs and outputs for a text, and the untrained scores.

    \b
    Example:
      python make_model.py preview --encoder minilm-l6 --text 'A quiet, funny film.' --max-length 64
    """
    maker = MakeModel.from_options(model_options)
    maker.preview_untrained_model(maker.select_model(), list(texts))
    click.echo("untrained scores:")
    maker.test_model(maker.build_model(model_options.dropout), list(texts))


@main.command()
@encoder_options
@click.option("--to-file", default="model_structure.png", help="PNG file to write.")
def structure(model_options: ModelOptions, to_file: str) -> None:
    """Draw the model's layers as a PNG.

    \b
    Example:
      python make_model.py structure --encoder minilm-l6 --to-file model_structure.png
    """
    maker = MakeModel.from_options(model_options)
    maker.select_model()
    maker.see_model_structure(maker.build_model(model_options.dropout), to_file)


if __name__ == "__main__":
    main()
