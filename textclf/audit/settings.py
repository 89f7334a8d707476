"""The settings of an audit; the command line of `textclf data audit` follows from them."""

from dataclasses import dataclass
from pathlib import Path

from textclf.config import Config
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.fields import path, switch, text, whole


@dataclass(frozen=True)
class AuditSettings(Config):
    """The model that reads the texts, how label errors are searched, and where the results are written."""

    output: Path = path(Path("audit"), "Folder for review.csv and audit.html.", metavar="DIR")
    encoder: str = text(
        EMBEDDED_ENCODER, "Pretrained encoder that embeds the texts (name or handle).", metavar="NAME_OR_HANDLE"
    )
    model_path: Path | None = path(
        None,
        "Embed with the encoder of a model version instead. If it was trained on these labels, it hides errors.",
        metavar="DIR",
    )
    embeddings: bool = switch(
        True,
        "Use embeddings. Without them it is faster, but usually finds fewer errors.",
        flag="--embeddings/--no-embeddings",
    )
    max_length: int = whole(256, "Maximum number of wordpieces per text in training.", min=3)
    folds: int = whole(5, "Folds of the models that search label errors.", min=2, max=20)
    seed: int = whole(0, "Random seed of the folds.")
    max_rows: int = whole(1000, "Maximum number of rows to review.", min=1)

    @property
    def review_file(self) -> Path:
        """The absolute path of the table with the rows to review."""
        return self.output.absolute() / "review.csv"

    @property
    def page(self) -> Path:
        """The absolute path of the page."""
        return self.output.absolute() / "audit.html"
