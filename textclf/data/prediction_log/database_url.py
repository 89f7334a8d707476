"""The URL of a prediction log: an SQLite file or a PostgreSQL database.

Uses no library, because the launcher of the server also parses URLs and should start fast.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from textclf.errors import ConfigError

DEFAULT_URL = "sqlite:///prediction_log/predictions.sqlite"
# Default limits of the log.
DAYS = 30
MAX_ROWS = 1_000_000
OFF = "off"
# For messages. Never show a URL that was not understood: it may contain a password.
EXPECTED_URL = (
    "off, sqlite:///FILE (sqlite:////FILE for an absolute path), or postgresql://USER:PASSWORD@HOST:PORT/DATABASE "
    "(write characters of the password other than letters and digits as %XX)"
)

_SQLITE = "sqlite:///"
_POSTGRESQL_URL = re.compile(
    r"postgres(?:ql(?:\+psycopg)?)?://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/?#\s]*))?@)?"
    r"(?P<host>(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]*)(?::[0-9]{1,5})?)"
    r"(?P<database>/[^@/?#\s]*)?(?:\?(?P<query>[^@#\s]*))?"
)


@dataclass(frozen=True, repr=False)
class DatabaseUrl:
    """A checked URL; parse() creates one, and its repr hides the password.

    Attributes:
        file: SQLite file; None for PostgreSQL.
        driver_url: SQLAlchemy URL of PostgreSQL, including the password; "" for SQLite.
        shown: the URL without password and options, for messages.
    """

    file: Path | None
    driver_url: str
    shown: str

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.shown!r})"

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse the URL of a database.

        Raises:
            ConfigError: if it is not a URL that EXPECTED_URL describes; the message does not quote it.
        """
        if url.startswith(_SQLITE):
            name = url.removeprefix(_SQLITE)
            if not name or name.endswith("/") or name == ":memory:" or re.search(r"[?#\0]", name):
                raise ConfigError(f"expected {EXPECTED_URL}, got an SQLite URL without a file or with options")
            return cls(Path(name), "", url)
        parts = _POSTGRESQL_URL.fullmatch(url)
        if parts is None:
            raise ConfigError(f"expected {EXPECTED_URL}, got another text (not shown: it may contain a password)")
        if any("password" in key for key, _ in parse_qsl(parts["query"] or "", keep_blank_values=True)):
            raise ConfigError(f"expected {EXPECTED_URL}, got a password among the options")
        user, host, database = parts["user"], parts["host"], parts["database"] or ""
        hidden = "" if parts["password"] is None else ":***"
        shown = f"postgresql://{'' if user is None else f'{user}{hidden}@'}{host}{database}"
        return cls(None, f"postgresql+psycopg://{url.partition('://')[2]}", shown)


def tidy_url(text: str) -> str:
    """The URL without surrounding white space; OFF for `off` in upper or lower case."""
    url = text.strip()
    return OFF if url.lower() == OFF else url


def readable_url(given: str | None) -> str:
    """Check the URL of a log to read; None means DEFAULT_URL.

    Raises:
        ConfigError: if DatabaseUrl.parse refuses the URL, or it is `off`.
    """
    url = tidy_url(given or "") or DEFAULT_URL
    if url == OFF:
        raise ConfigError("expected the URL of a prediction log, got `off`; pass texts with check --latest instead")
    DatabaseUrl.parse(url)
    return url


def absolute_url(url: str) -> str:
    """The URL with an absolute path, for a process in another folder; `off` and PostgreSQL URLs are unchanged.

    Raises:
        ConfigError: if DatabaseUrl.parse refuses the URL.
    """
    if url == OFF:
        return url
    file = DatabaseUrl.parse(url).file
    return url if file is None else f"{_SQLITE}{file.absolute()}"
