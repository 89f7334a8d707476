"""The settings of the server: one frozen record of environment variables, checked when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from textclf.data.prediction_log.database_url import (
    DAYS,
    DEFAULT_URL,
    EXPECTED_URL,
    MAX_ROWS,
    OFF,
    DatabaseUrl,
    tidy_url,
)
from textclf.environment import usable_cores
from textclf.errors import ConfigError
from textclf.fields import Rule, markdown_table, number, option, path, rules, switch, text, whole
from textclf.runtime.turns import SHORT_CHARS

# Reviews that a worker stores at a time. They wait for the disk and share its syncs (textclf/data/group_commit.py).
MAX_FEEDBACK = 8
# GET requests of a worker that cost more than /ping: for /metrics, which may need a key, and for the others.
MAX_SCRAPES = 2
MAX_GETS = 2
# Requests of a worker for texts to label.
MAX_DRAWS = 2
# Refused bodies that a worker discards at a time, so that they do not hold all threads.
MAX_DISCARDS = 3
# Folder of SageMaker's container, if PREFIX is not set.
DEFAULT_PREFIX = "/opt/ml"
# A host name has at most 253 characters; nginx refuses a line of 4,096.
_ORIGIN = r"https?://[0-9A-Za-z._-]{1,253}(:[0-9]{1,5})?"
# Neither a path of the API nor a folder of one, which would hide it, and no "." or "..", which clients remove.
_ROOT_PATH = (
    r"(?!/(predict|explain|invocations(/predict)?|feedback|review(/(texts|labels|undo))?|ping|info|metrics|health_check"
    r"|health(/(live|ready))?|execution-parameters|openapi\.json|drift\.json|evaluation|drift|docs|page(/.*)?"
    r"|v2(/(health(/(live|ready))?|models(/.*)?))?)$)"
    r"(?=.{0,200}$)(/(?!\.{1,2}(/|$))[0-9A-Za-z._~-]+)*"
)


def _is_database(value: Any) -> bool:
    try:
        return value == OFF or (isinstance(value, str) and DatabaseUrl.parse(value) is not None)
    except ConfigError:
        return False


@dataclass(frozen=True)
class Settings:
    """Every environment variable of the server: a field with its name in lower case.

    Raises:
        ConfigError: if a value is outside its bounds; names the variable.
    """

    model_path: Path = path(
        Path("model"),
        "A model store, one version's folder, or a plain SavedModel folder. From a store, the server loads the current "
        "version, and every new current version later. Also an archive of one of them: a file, `s3://BUCKET/KEY` or "
        "`https://…`, which is unpacked at the start. With BUCKET_NAME it is a key. `make serve` sets it to `model`.",
        shown="PREFIX/model, where PREFIX is /opt/ml",
    )
    model_name: str = text(
        "textclf",
        "Name of the model in the paths of the Open Inference Protocol, `/v2/models/MODEL_NAME`. It stays when another "
        "version becomes current.",
        pattern=r"[0-9A-Za-z._-]{1,100}",
        expected="at most 100 letters, digits, dots, _ and -",
    )
    host: str = text(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 listens on all interfaces.",
        pattern=r"[0-9A-Za-z.:_-]+",
        expected="an address",
    )
    port: int = whole(8080, "Port to listen on.", min=1, max=65535)
    root_path: str = text(
        "",
        "Prefix of all paths, such as /texts, for a gateway that does not remove it. The server answers with and "
        "without it.",
        pattern=_ROOT_PATH,
        expected="a path such as /texts that is no path of the API, at most 200 characters, without a slash at the end",
        shown="none",
    )
    cors_origins: str = text(
        "",
        "Origins, with commas between them, whose pages may use the API in a browser: `https://a.example, "
        "http://localhost:3000`.",
        pattern=rf"{_ORIGIN}(\s*,\s*{_ORIGIN})*|",
        expected="origins such as https://a.example, with commas between them",
        shown="none",
    )
    model_server_workers: int = whole(
        usable_cores, "Worker processes; each loads its own model.", min=1, max=1024, shown="the cores"
    )
    model_server_timeout: int = whole(
        60,
        "Seconds until a request is given up with 503 (`timed_out`). The server refuses at once a request that needs "
        "more time: with 422, or with 429 if other requests are the reason. gunicorn replaces a worker "
        "whose main thread is silent for this long, or for 60 seconds if that is longer.",
        min=1,
        max=86_400,
    )
    keep_alive_seconds: int = whole(
        75, "Seconds until an idle connection of a client is closed; 0 closes it after each response.", max=86_400
    )
    drain_seconds: float = number(
        5.0,
        "Seconds after SIGTERM in which requests are still accepted, while /ping and /health/ready return 503 "
        "(`draining`); 0 stops at once. Then requests have up to 25 seconds to finish, at most 28 seconds together.",
        min=0,
        max=20,
    )
    inference_threads: int = whole(
        1,
        "Compute threads per worker. More threads serve one request faster, but fewer requests in total.",
        min=1,
        max=1024,
    )
    cascade: bool = switch(
        True, "Let the linear stage of a version with a cascade predict easy texts; `off` always uses the encoder."
    )
    cache_bytes: int = whole(
        16 * 1024**2,
        "Memory per worker for the encoder's outputs of recent texts; 0 keeps none. A text with the same wordpieces "
        "then needs no computation. The cache is in memory only, and empty after a change of the model.",
        max=2**40,
    )
    rules: str = text(
        "",
        "File with rules before and after the model, in Python (.py) or TOML (.toml). It is read when a model is "
        "loaded, so restart the server after a change. Code in it has all rights of the server.",
        pattern=r"[^\x00]*",
        expected="a path",
        shown="none: no rules",
    )
    max_text_chars: int = whole(
        100_000,
        "Maximum number of characters in a text, also after Unicode normalisation (NFKC), where spaces do not count; a "
        "longer text returns 422.",
        min=1,
        max=10**8,
    )
    max_batch: int = whole(
        1000,
        "Maximum number of texts in a request; more return 422.",
        min=1,
        max=10**6,
    )
    max_request_wordpieces: int = whole(
        10**6,
        "Maximum number of wordpieces in the texts of a request; more return 422. A single text of up to "
        f"{SHORT_CHARS:,} characters is always accepted.",
        min=1,
        max=10**9,
    )
    max_worker_wordpieces: int = whole(
        2 * 10**6,
        "Maximum number of wordpieces in the texts that a worker scores at a time; a request above it returns 429. A "
        f"request alone is accepted, and a single text of up to {SHORT_CHARS:,} characters always is.",
        min=1,
        max=10**9,
    )
    max_body_bytes: int = whole(
        2 * 1024**2, "Maximum size of a request body in bytes, unpacked; a larger body returns 413.", min=1, max=2**31
    )
    max_pending_body_bytes: int = whole(
        128 * 1024**2,
        "Maximum memory of nginx for request bodies of 10 kB and more. Half of it is for bodies below 100 kB, half for "
        "larger ones and those in chunks. An address may use half of each; more returns 429. One body is always "
        "accepted.",
        min=1,
        max=2**40,
    )
    max_concurrent: int = whole(
        10,
        "Maximum number of concurrent requests for predictions per worker; one more returns 429. "
        f"Lists, and texts of more than {SHORT_CHARS:,} characters, may be half of them. "
        f"Reviews do not count; a worker stores up to {MAX_FEEDBACK} of them at a time. A higher value refuses fewer "
        "requests but makes them wait longer. nginx uses the least busy worker; without nginx one worker may refuse "
        "while another is idle.",
        min=1,
        max=10_000,
    )
    api_key: str = text(
        "",
        "Key that every POST and /metrics require, as `X-API-Key: …` or `Authorization: Bearer …`.",
        pattern=r"[!-~]{0,512}",
        expected="at most 512 printable ASCII characters without blanks",
        shown="none: no key needed",
        is_secret=True,
    )
    page: bool = switch(True, "Serve the web page at / with its other pages; `off` returns 404 for their paths.")
    new_data_dir: Path = path(
        Path("new_data"), "Folder in which POST /feedback stores reviews, as train/<class>/<uuid>.txt."
    )
    new_data_max_bytes: int = whole(
        1024**3,
        "Maximum disk space of stored reviews, in blocks of 4 KiB; after that, POST /feedback returns 507.",
        max=2**60,
    )
    explain: bool = switch(True, "Explain predictions on request; `off` returns 422 (`explain_unavailable`).")
    explain_max_evaluations: int = whole(
        5000,
        "Maximum number of evaluations of the encoder that a request may ask for, for each text. A request that does "
        "not ask gets the default of `textclf explain`, or this number if it is lower.",
        min=2,
        max=10**6,
    )
    explain_seconds: float = number(
        10.0,
        "Seconds for the explanations of a request. After them a text gets the explanation reached so far, "
        "with `complete: false`. MODEL_SERVER_TIMEOUT limits them too.",
        min=0.01,
        max=86_400,
    )
    explain_concurrent: int = whole(
        2,
        "Maximum number of concurrent requests for explanations per worker, next to MAX_CONCURRENT; one more returns "
        "429. They share the time that predictions leave, so a higher value makes each slower.",
        min=1,
        max=1000,
    )
    log_text: bool = switch(False, "Write users' texts to the server log too.")
    prediction_log_url: str = option(
        DEFAULT_URL,
        Rule(
            "Database in which predictions are logged for drift monitoring. `sqlite:///FILE` is relative, "
            "`sqlite:////FILE` is absolute, and `off` logs nothing. The log contains personal data.",
            str,
            tidy_url,
            _is_database,
            EXPECTED_URL,
            is_secret=True,
        ),
    )
    prediction_log_text: bool = switch(
        False, "Log the texts themselves too, so that /review can draw texts to label; drift checks do not need them."
    )
    prediction_log_days: int = whole(DAYS, "Days until a logged prediction is deleted.", min=1, max=36_500)
    prediction_log_rows: int = whole(
        MAX_ROWS,
        "Maximum number of logged predictions; older ones are deleted. 1,000 need about 1 MB.",
        min=1,
        max=10**12,
    )
    prediction_log_both_stages: float = number(
        0.05,
        "Share of the logged texts, chosen at random, that both stages of a cascade score after the response, at most "
        "one per second and worker. Drift of embeddings and of the stages is measured on these texts.",
        min=0,
        max=1,
    )
    model_poll_seconds: float = number(
        5.0,
        "Seconds between two checks for a new current version in the model store; 0 never checks.",
        min=0,
        max=86_400,
    )
    prometheus_multiproc_dir: str = text(
        "",
        "Folder in which the workers share their metrics. serving/serve creates a new folder in it at each start and "
        "removes it at the end. Without it, /metrics shows one worker only.",
        pattern=r"[^\x00]*",
        expected="a path",
        shown="none; serving/serve creates a temporary folder",
    )

    sagemaker_bind_to_port: int | None = whole(
        None, "Port to listen on, instead of PORT; SageMaker sets it in pipelines.", min=1, max=65535, shown="none"
    )
    sagemaker_batch: bool = switch(
        False,
        "Serve a batch transform job; SageMaker sets it. The limits are raised to its payload, and a bad record of CSV "
        "or JSON lines gets an error of its own.",
    )
    sagemaker_max_payload_in_mb: int = whole(
        6, "Maximum size in MiB of a request of a batch transform job; 0 stands for 100.", max=100
    )
    sagemaker_batch_strategy: str = text(
        "MULTI_RECORD",
        "Strategy of a batch transform job; MULTI_RECORD has several records per request.",
        pattern="(?i:single_?record|multi_?record)",
        expected="SINGLE_RECORD or MULTI_RECORD",
    )
    sagemaker_max_concurrent_transforms: int | None = whole(
        None,
        "Concurrent requests of a batch transform job; 0 stands for the default.",
        max=100,
        shown="MODEL_SERVER_WORKERS",
    )

    def __post_init__(self) -> None:
        for name, rule in rules(Settings).items():
            if not rule.holds(getattr(self, name)):
                raise _refusal(name, rule, getattr(self, name))

    def __repr__(self) -> str:
        """Without key and passwords: settings are printed and logged."""
        shown = {**vars(self), "api_key": "…" if self.api_key else ""}
        if self.prediction_log_url != OFF:
            shown["prediction_log_url"] = DatabaseUrl.parse(self.prediction_log_url).shown
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings in `environ`; a missing, empty or blank variable keeps its default.

        A blank API_KEY is refused: whoever sets one wants a key, and the server must not start without it.

        Raises:
            ConfigError: if a value is outside its bounds; names the variable.
        """
        key = environ.get("API_KEY", "")
        if key and not key.strip():
            raise ConfigError(
                f"API_KEY: expected {rules(cls)['api_key'].expected}, got blanks only; set a key, or unset it to serve "
                f"without one"
            )
        return cls(**values_of(cls, environ))


def values_of(options: type, environ: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an option class that the environment sets; a missing, empty or blank variable sets none.

    Raises:
        ConfigError: if a value is outside its bounds; names the variable.
    """
    values = {}
    for name, rule in rules(options).items():
        if text := environ.get(name.upper(), "").strip():
            try:
                values[name] = rule.parse(text)
            except ValueError:
                raise _refusal(name, rule, text) from None
            if not rule.holds(values[name]):
                raise _refusal(name, rule, text)
    return values


def settings_table() -> str:
    """The variables as a table in Markdown."""
    return markdown_table(Settings, "variable", str.upper)


def _refusal(name: str, rule: Rule, value: object) -> ConfigError:
    variable = name.upper()
    got = "a value that is not shown" if rule.is_secret else repr(value)[:200]
    return ConfigError(
        f"{variable}: expected {rule.expected_text}, got {got}; fix or unset the environment variable {variable}"
    )
