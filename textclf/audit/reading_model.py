"""The model that reads the texts for an audit: wordpieces of every text and, if wanted, an embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textclf.phases import SCORING_SPEED, announce
from textclf.runtime.backend import Timings
from textclf.runtime.batching import batches_by_length
from textclf.runtime.engine import Engine, load_engine
from textclf.runtime.predictor import TOKENS_PER_BATCH
from textclf.store.model_store import open_model
from textclf.tokenization.text_tokenizer import TextTokenizer, load_tokenizer

# Wordpieces that an embedding reads: twice as many take twice as long, and the linear model reads the whole text.
EMBEDDED_LENGTH = 128
# Wordpieces per second of a pretrained encoder in float32 on two cores; the int8 engine of a version is faster.
_ENCODER_SPEED = 6_000


@dataclass(frozen=True, eq=False)
class ReadTexts:
    """Texts as a model reads them.

    Attributes:
        wordpieces: all ids of each text, without [CLS] and [SEP].
        lengths: wordpieces of each text, with [CLS] and [SEP], int64 [n].
        embeddings: float32 [n, H]; None if they were not wanted.
    """

    wordpieces: Sequence[Sequence[int]]
    lengths: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class ReadingModel:
    """A tokenizer and, if embeddings are wanted, an engine.

    Attributes:
        name: name for messages.
        tokenizer: makes the wordpieces.
        engine: makes the embeddings; None if they are not wanted.
        speed: rough speed of the engine in wordpieces per second.
    """

    name: str
    tokenizer: TextTokenizer
    engine: Engine | None
    speed: int

    def read(self, texts: Sequence[str]) -> ReadTexts:
        """Read the texts; announces how long the embeddings take."""
        tokenized = self.tokenizer(texts)
        wordpieces = [text.wordpieces for text in tokenized]
        lengths = np.array([text.length for text in tokenized], np.int64)
        if self.engine is None or not wordpieces:
            return ReadTexts(wordpieces, lengths, None)
        read = np.minimum(lengths, self.tokenizer.settings.max_length)
        announce(f"embedding {len(texts):,} texts with {self.name}", int(read.sum()) / self.speed)
        # The first window of a long text is enough to find outliers.
        first = [self.tokenizer.windows(text.ids)[0] for text in tokenized]
        return ReadTexts(wordpieces, lengths, _embeddings(self.engine, first))


def reading_model(encoder: str, model_path: Path | None, with_embeddings: bool) -> ReadingModel:
    """The model that an audit reads with: a pretrained encoder, or the encoder of a model version.

    Args:
        encoder: name or handle of the pretrained encoder, which needs TensorFlow; unused with `model_path`.
        model_path: a model store or a version, which needs no TensorFlow; None takes the pretrained encoder.
        with_embeddings: whether to load the engine, too.

    Raises:
        EncoderError: if the encoder can't be had or loaded.
        ModelStoreError: if there is no version, or it is damaged.
    """
    if model_path is not None:
        version = open_model(model_path)
        folder = version.part("engine")
        version.verify(["engine"])
        engine = load_engine(version) if with_embeddings else None
        tokenizer = load_tokenizer(folder) if engine is None else engine.tokenizer
        return ReadingModel(f"{version.manifest.name} {version.id}", tokenizer, engine, SCORING_SPEED)
    from textclf.training.export.embedder import load_embedder, tokenizer_of_encoder

    if not with_embeddings:
        return ReadingModel(encoder, tokenizer_of_encoder(encoder, EMBEDDED_LENGTH), None, _ENCODER_SPEED)
    engine = load_embedder(encoder, EMBEDDED_LENGTH)
    return ReadingModel(encoder, engine.tokenizer, engine, _ENCODER_SPEED)


def _embeddings(engine: Engine, inputs: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Embeddings of texts, each given as its ids with [CLS] and [SEP]: float32 [n, H]."""
    lengths = np.array([len(ids) for ids in inputs], np.int64)
    lengths = engine.steps[np.searchsorted(engine.steps, lengths)]
    found: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
    for batch in batches_by_length(lengths, TOKENS_PER_BATCH):
        outputs = engine.run([inputs[row] for row in batch], Timings())
        # The embedder of an encoder has no classes: it gives the embedding as logits.
        found.append((batch, outputs.logits if outputs.embeddings is None else outputs.embeddings))
    embeddings = np.empty((len(inputs), found[0][1].shape[1]), np.float32)
    for rows, values in found:
        embeddings[rows] = values
    return embeddings
