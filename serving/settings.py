"""What the environment says of the server: read once into a frozen object that refuses nonsense."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from serving.parsing import EXPECTED_SWITCH, parse_number, parse_switch, parse_whole
from serving.prediction_logging.dual_scoring import SHARE
from textclf.data.prediction_log.database_url import DEFAULT_URL, EXPECTED_URL, OFF, DatabaseUrl, tidy_url
from textclf.environment import usable_cores
from textclf.errors import ConfigError

# Are not quoted in errors: they hold a key or a password.
_SECRET = ("api_key", "prediction_log_url")


def _field(
    default: Any, expected: str, help_text: str, parse: Callable[[str], Any], holds: Callable[[Any], bool], shown: str
) -> Any:
    metadata = {"expected": expected, "help": help_text, "parse": parse, "holds": holds, "shown": shown}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _whole(default: int | Callable[[], int], help_text: str, least: int, most: int, shown: str = "") -> Any:
    """A whole number in [least, most]."""

    def holds(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return _field(
        default, f"a whole number from {least} to {most}", help_text, parse_whole, holds, shown or str(default)
    )


def _number(default: float, help_text: str, most: float, unit: str = "") -> Any:
    """A number in [0, most]."""

    def holds(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most

    return _field(default, f"a number {unit}from 0 to {most:g}", help_text, parse_number, holds, f"{default:g}")


def _switch(default: bool, help_text: str, shown: str = "") -> Any:
    """True or false."""
    return _field(
        default,
        EXPECTED_SWITCH,
        help_text,
        parse_switch,
        lambda value: isinstance(value, bool),
        shown or str(int(default)),
    )


def _folder(default: str, help_text: str) -> Any:
    return _field(
        Path(default),
        "a path",
        help_text,
        Path,
        lambda value: isinstance(value, Path) and "\0" not in str(value),
        default,
    )


def _text(default: str, help_text: str, pattern: str, expected: str, shown: str = "empty") -> Any:
    """A text that matches the whole pattern."""
    matches = re.compile(pattern, re.ASCII).fullmatch
    return _field(
        default,
        expected,
        help_text,
        str,
        lambda value: isinstance(value, str) and matches(value) is not None,
        default or shown,
    )


def _database(default: str, help_text: str) -> Any:
    """The URL of a database, or OFF."""

    def holds(value: object) -> bool:
        try:
            return value == OFF or (isinstance(value, str) and DatabaseUrl.parse(value) is not None)
        except ConfigError:
            return False

    return _field(default, EXPECTED_URL, help_text, tidy_url, holds, default)


@dataclass(frozen=True)
class Settings:
    """Every environment variable of the server: a field named in lower case, with its default, bounds and help.

    Raises:
        ConfigError: a value is out of its bounds; names the variable.
    """

    model_path: Path = _folder(  # noqa: RUF009 it makes a dataclasses.field
        "model",
        "A model store (its current version is served, and a new one picked up), one version's folder, or a plain "
        "SavedModel folder.",
    )
    host: str = _text("127.0.0.1", "Address to listen on; 0.0.0.0 is every one.", r"[0-9A-Za-z.:_-]+", "an address")
    port: int = _whole(8080, "Port to listen on.", 1, 65535)
    model_server_workers: int = _whole(
        usable_cores,
        "Processes; each holds a model of its own (see the README for the memory).",
        1,
        1024,
        "the cores",
    )
    model_server_timeout: int = _whole(
        60,
        "Seconds after which nginx gives a request up and answers it with 503 (`timed_out`). gunicorn replaces a "
        "worker whose main thread is silent for so long, but for 60 at least.",
        1,
        86_400,
    )
    inference_threads: int = _whole(
        1, "Threads that compute in a worker. More answer a single request faster, and all together fewer.", 1, 1024
    )
    cascade: bool = _switch(
        True,
        "Let the linear stage of a version that has a cascade answer what it is sure of; `off`: the encoder answers "
        "all, also of versions to come.",
        shown="on",
    )
    max_text_chars: int = _whole(100_000, "Characters of a text; a longer one is answered with 422.", 1, 10**8)
    max_batch: int = _whole(
        1000,
        "Texts of a request; more are answered with 422. A worker scores lists of twice as many texts at a time, all "
        "together; one more is answered with 429.",
        1,
        10**6,
    )
    max_body_bytes: int = _whole(
        2 * 1024**2, "Bytes of a request's body, unpacked; a larger one is answered with 413.", 1, 2**31
    )
    max_concurrent: int = _whole(
        10,
        "POST requests at a time in a worker; one more is answered with 429. More wait longer and are refused less. "
        "nginx asks the worker with the fewest; without nginx one may refuse while another idles.",
        1,
        10_000,
    )
    api_key: str = _text(
        "",
        "If set, every POST and /metrics need it, as `X-API-Key: …` or `Authorization: Bearer …`.",
        r"[!-~]*",
        "printable ASCII characters without blanks",
        "empty: no key",
    )
    new_data_dir: Path = _folder(  # noqa: RUF009 it makes a dataclasses.field
        "new_data", "Where POST /feedback stores reviews, in train/<class>/."
    )
    new_data_max_bytes: int = _whole(
        1024**3, "Disk space that reviews may take, in blocks of 4 KiB; when it is used up, 507 is answered.", 0, 2**60
    )
    log_text: bool = _switch(False, "Write users' texts into the log, too.")
    prediction_log_url: str = _database(
        DEFAULT_URL,
        "Where predictions are logged for drift monitoring: `sqlite:///FILE`, `sqlite:////FILE` from the root on, or "
        "`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; `off` logs none. It is personal data, see below.",
    )
    prediction_log_text: bool = _switch(False, "Log the texts themselves, too; drift is found without.")
    prediction_log_days: int = _whole(30, "Days after which a logged prediction is removed.", 1, 36_500)
    prediction_log_rows: int = _whole(
        1_000_000, "Predictions that the log keeps; of more the oldest are removed. 1,000 take about 1 MB.", 1, 10**12
    )
    prediction_log_both_stages: float = _number(
        SHARE,
        "Share of the logged texts, drawn by chance, that go through both stages of a cascade after they were "
        "answered, one a second and worker at most: drift of embeddings and of the stages is looked for in these.",
        1,
    )
    model_poll_seconds: float = _number(
        5.0, "How often the model store is asked for a new current version; 0 never asks.", 86_400, "of seconds "
    )
    prometheus_multiproc_dir: str = _text(
        "",
        "Folder where the workers gather their metrics; serving/serve makes a new folder in it at each start and "
        "removes it at the end. Without it /metrics tells of one worker.",
        r"[^\x00]*",
        "a path",
        "empty; serving/serve makes a temporary one",
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not item.metadata["holds"](value):
                raise _nonsense(item, repr(value))

    def __repr__(self) -> str:
        """Without key and passwords: settings are printed and logged."""
        shown = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        shown["api_key"] = "…" if self.api_key else ""
        if self.prediction_log_url != OFF:
            shown["prediction_log_url"] = DatabaseUrl.parse(self.prediction_log_url).shown
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` asks for; a variable that is missing or empty keeps its default.

        So does one of blanks only, but for the key: who sets one wants a key, and must not serve without.

        Raises:
            ConfigError: a value makes no sense; names the variable.
        """
        values = {}
        for item in dataclasses.fields(cls):
            given = environ.get(item.name.upper(), "")
            text = given.strip()
            if given and not text and item.name == "api_key":
                raise ConfigError(
                    "API_KEY: expected printable ASCII characters without blanks, got blanks only; set a key, or "
                    "leave it empty to serve without one"
                )
            if text:
                try:
                    values[item.name] = item.metadata["parse"](text)
                except ValueError:
                    raise _nonsense(item, repr(text)) from None
        return cls(**values)


def settings_table() -> str:
    """The variables as a table in Markdown."""
    rows = [
        f"| `{item.name.upper()}` | {item.metadata['shown']} | {item.metadata['help']} |"
        for item in dataclasses.fields(Settings)
    ]
    return "\n".join(["| variable | default | what it does |", "| --- | --- | --- |", *rows]) + "\n"


def _nonsense(item: dataclasses.Field[Any], got: str) -> ConfigError:
    name = item.name.upper()
    got = "something else" if item.name in _SECRET else got[:200]
    return ConfigError(
        f"{name}: expected {item.metadata['expected']}, got {got}; mend or unset the environment variable {name}"
    )
