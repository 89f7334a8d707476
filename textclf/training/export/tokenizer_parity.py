"""Compares the serving tokenizer with the preprocessing SavedModel that the model was trained with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.config import ModelOptions
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.errors import ConfigError, EncoderError
from textclf.store.model_store import ModelStore, ModelVersion, open_model
from textclf.tokenization.text_key import TextKeys
from textclf.tokenization.text_tokenizer import TextTokenizer, load_tokenizer
from textclf.tokenization.tokenizer import VOCABULARY_FILE, Tokenizer, read_vocabulary
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import TextPreprocessing, preprocessing_in, tokenize_windows

_STORE = Path("model")
_ENGINE = "engine"
_SAVED_MODEL = "saved_model"
_CHUNK = 1024
# Differences between tokenizers of BERT's kind: case, accents, zero-width and control characters, other white space,
# symbols, CJK, special tokens, and the longest word that is not [UNK] (100 bytes).
_TELLING_TEXTS = (
    "The theatre's naïve CAFÉ, e\u0301galite\u0301 & Straße: ﬁlm ②!",
    "a\x00b c\u200bd e\u00adf g\u00a0h i\u2028j k\u0600l m\x0bn",
    "1+1=2 $5 ©2 a—b “c” 电影a字b ［d］",
    "[CLS] [unused1] ##a [UNK]",
    "a" * 100,
    "a" * 101,
    "ж" * 51,
)


def tokenizer_differences(texts: Sequence[str], version_path: Path | str | None = None) -> list[str]:
    """The texts whose ids differ between the preprocessing SavedModel and the serving tokenizer.

    The SavedModel is the version's saved_model/ or, if it is missing, the preprocessing of the encoder in the manifest.
    The serving tokenizer is the one in the version's engine/ or, if it is missing, one made from the SavedModel.

    Args:
        texts: any texts.
        version_path: a version's folder or a store (its current version); None uses the store "model" or, if it has
            no current version, the embedded encoder with default options.

    Raises:
        ModelStoreError: if there is no such version, or it is damaged.
        EncoderError: if the preprocessing can't be downloaded or loaded, or is not BERT's.
        InputError: if a text is not valid Unicode.
    """
    version = None
    if version_path is not None or ModelStore(_STORE).current_id() is not None:
        version = open_model(_STORE if version_path is None else version_path)
        version.verify([_SAVED_MODEL, _ENGINE])
    preprocessing = preprocessing_of_version(version)
    if version is not None and version.has(_ENGINE):
        tokenizer: TextTokenizer = load_tokenizer(version.part(_ENGINE))
    else:
        tokenizer = tokenizer_of_preprocessing(preprocessing)
    return differing_texts(preprocessing, tokenizer, texts)


def preprocessing_of_version(version: ModelVersion | None) -> TextPreprocessing:
    """The preprocessing in a version's saved_model/ or, without one, of the encoder in its manifest.

    None is the embedded encoder with default options.

    Raises:
        EncoderError: if the preprocessing can't be downloaded or loaded.
    """
    options = ModelOptions(EMBEDDED_ENCODER) if version is None else version.manifest
    if version is None:
        folder = encoders.resolve(EMBEDDED_ENCODER, EMBEDDED_ENCODER, "").preprocessing
    elif "family" in version.manifest.encoder:
        folder = version.part(_ENGINE)  # Its tokenizer is not part of the SavedModel.
    elif version.has(_SAVED_MODEL):
        folder = version.part(_SAVED_MODEL)
    else:
        encoder = version.manifest.encoder
        handles = encoder["model_name"], encoder["name_to_handle"], encoder["model_to_handle"]
        folder = encoders.resolve(*handles).preprocessing
    reading = options.max_length, options.truncation, options.head_fraction, options.windows
    return preprocessing_in(folder, *reading)


def tokenizer_of_preprocessing(preprocessing: TextPreprocessing) -> TextTokenizer:
    """The serving tokenizer that replaces a preprocessing SavedModel, or that the preprocessing calls.

    Raises:
        EncoderError: if the preprocessing splits texts differently from BERT's.
    """
    if preprocessing.text_tokenizer is not None:
        return preprocessing.text_tokenizer
    source = preprocessing.folder / "assets" / VOCABULARY_FILE
    try:
        tokenizer = Tokenizer(
            read_vocabulary(source),
            preprocessing.folds_case(),
            preprocessing.max_length,
            preprocessing.truncation,
            preprocessing.head_fraction,
            preprocessing.windows,
        )
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise EncoderError(
            f"{source}: expected BERT's vocabulary in the preprocessing ({error}); only encoders with BERT's WordPiece "
            f"preprocessing can be served without TensorFlow"
        ) from error
    differing = differing_texts(preprocessing, tokenizer, _TELLING_TEXTS)
    if differing or tokenizer.padding_id != preprocessing.padding_id:
        what = f"splits {differing[0]!r} differently" if differing else "pads with another id"
        raise EncoderError(
            f"{preprocessing.folder}: expected BERT's preprocessing (tensorflow_text.BertTokenizer), found one that "
            f"{what}; only that can be served without TensorFlow"
        )
    return tokenizer


def text_keys_of_preprocessing(preprocessing: TextPreprocessing) -> TextKeys:
    """The rule by which two texts are equal to an encoder; it has no vocabulary if the preprocessing is not BERT's."""
    try:
        return TextKeys(tokenizer_of_preprocessing(preprocessing))
    except EncoderError:
        return TextKeys()


def differing_texts(preprocessing: TextPreprocessing, tokenizer: TextTokenizer, texts: Sequence[str]) -> list[str]:
    """The texts with different ids in a window, or with a different length before truncation.

    Raises:
        InputError: if a text is not valid Unicode.
    """
    differing = []
    for start in range(0, len(texts), _CHUNK):
        part = texts[start : start + _CHUNK]
        served = tokenizer(part)  # First, because it checks the texts.
        expected = tokenize_windows(preprocessing, part)
        rows, firsts = expected.rows, np.cumsum(expected.counts) - expected.counts
        windows = [ids.tolist() for ids in np.split(rows.ids, rows.offsets[1:-1])]
        differing += [
            text
            for text, found, first, count in zip(part, served, firsts, expected.counts, strict=True)
            if tokenizer.windows(found.ids) != windows[first : first + count]
            or found.length != rows.whole_lengths[first]
        ]
    return differing
