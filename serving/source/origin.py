"""The origin of a model that `serve` fetched; the workers read it from their environment."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

# Set by serving/server/launcher.py for the workers.
VARIABLE = "TEXTCLF_MODEL_SOURCE"


@dataclass(frozen=True)
class Origin:
    """An archive that was unpacked, or a model of the Hub that was imported.

    Attributes:
        location: path, s3:// or https:// address without user, password and query, or name in the Hub.
        sha256: hash of the archive, or of the weights, in hex digits.
        etag: ETag of an S3 object; None otherwise.
        commit: commit of a model of the Hub; None otherwise.
        tokenizer: name of another model of the Hub whose tokenizer is used; None otherwise.
        tokenizer_commit: its commit.
    """

    location: str
    sha256: str
    etag: str | None = None
    commit: str | None = None
    tokenizer: str | None = None
    tokenizer_commit: str | None = None

    def to_text(self) -> str:
        """The value of VARIABLE."""
        return json.dumps(asdict(self))


def origin_of(environ: Mapping[str, str]) -> Origin | None:
    """The origin that `serve` recorded in the environment; None if the model was in a folder."""
    text = environ.get(VARIABLE, "")
    return Origin(**json.loads(text)) if text else None
