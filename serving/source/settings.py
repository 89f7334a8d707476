"""The settings that say where the served model comes from, and what a serverless platform needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from serving.settings import values_of
from textclf.fields import markdown_table, switch, text, whole

# A serverless endpoint has 5 GB for all files.
MAX_BYTES = 4 << 30
_HUB_NAME = r"([A-Za-z0-9_][A-Za-z0-9._/@-]*)?"


@dataclass(frozen=True)
class SourceSettings:
    """Environment variables of `serve` that its workers do not need: a field with its name in lower case."""

    hub_model_name: str = text(
        "",
        "Model of the Hugging Face Hub, OWNER/NAME or OWNER/NAME@REVISION, that is imported at the start. It wins over "
        "MODEL_PATH, BUCKET_NAME and LOCAL. Needs the extra `hub`. The Hub's own variables apply, such as HF_TOKEN.",
        pattern=_HUB_NAME,
        expected="a model of the Hub as OWNER/NAME or OWNER/NAME@REVISION",
    )
    tokenizer: str = text(
        "",
        "Model of the Hub with the tokenizer.",
        pattern=_HUB_NAME,
        expected="a model of the Hub as OWNER/NAME or OWNER/NAME@REVISION",
        shown="HUB_MODEL_NAME",
    )
    hub_cache_dir: str = text(
        "",
        "Folder that keeps the imported models, for the next start and for other servers.",
        pattern=r"[^\x00]*",
        expected="a path",
        shown="a folder of this user in TMPDIR",
    )
    bucket_name: str = text(
        "",
        "S3 bucket of the model; MODEL_PATH is then the key of a model.tar.gz in it. Needs the extra `aws`. "
        "Credentials, region and endpoint come from AWS's own variables, files or roles.",
        pattern=r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:[A-Za-z0-9:/_.-]+)?",
        expected="the name of an S3 bucket, or the ARN of an access point",
    )
    local: bool = switch(False, "Read no S3: MODEL_PATH is a path, also with BUCKET_NAME.")
    model_max_bytes: int = whole(
        MAX_BYTES,
        "Maximum size in bytes of an archive with a model, of its content unpacked, and of the files of a model of the "
        "Hub.",
        min=1,
        max=2**50,
    )
    model_sha256: str = text(
        "",
        "SHA-256 that the archive must have. With it, MODEL_PATH may also be an http:// address.",
        pattern=r"([0-9a-fA-F]{64})?",
        expected="64 hex digits",
        shown="none: any archive",
    )
    serverless: bool = switch(
        False,
        "For serverless platforms: one worker unless MODEL_SERVER_WORKERS is set, and no file outside TMPDIR. Reviews "
        "are then refused with 507 unless NEW_DATA_DIR is below TMPDIR, and an SQLite prediction log elsewhere is off.",
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings in `environ`; a missing, empty or blank variable keeps its default.

        Raises:
            ConfigError: if a value is outside its bounds.
        """
        return cls(**values_of(cls, environ))


def source_settings_table() -> str:
    """The variables as a table in Markdown."""
    return markdown_table(SourceSettings, "variable", str.upper)
