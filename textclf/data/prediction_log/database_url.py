"""Where the prediction log lies: URLs of SQLite files and PostgreSQL databases, and how they are shown.

Without a library, because what only starts the server reads them, too.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from textclf.errors import ConfigError

DEFAULT_URL = "sqlite:///prediction_log/predictions.sqlite"
OFF = "off"
# For messages; a URL that was not understood is never shown, because it may hold a password.
EXPECTED_URL = (
    "off, sqlite:///FILE (sqlite:////FILE from the root on), or postgresql://USER:PASSWORD@HOST:PORT/DATABASE with "
    "what is not a letter or digit in the password written as %XX"
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
    """A checked URL; parse() makes one, and its repr hides the password.

    Attributes:
        file: of SQLite; None for PostgreSQL.
        driver_url: of PostgreSQL, with its driver, as SQLAlchemy takes it, password included; "" for SQLite.
        shown: the URL without password and options, for people.
    """

    file: Path | None
    driver_url: str
    shown: str

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.shown!r})"

    @classmethod
    def parse(cls, url: str) -> Self:
        """The URL of a database.

        Raises:
            ConfigError: it is none that can hold a prediction log; does not quote it.
        """
        if url.startswith(_SQLITE):
            name = url.removeprefix(_SQLITE)
            if not name or name.endswith("/") or name == ":memory:" or re.search(r"[?#\0]", name):
                raise ConfigError(f"expected {EXPECTED_URL}, got an SQLite URL without a file, or with options")
            return cls(Path(name), "", url)
        parts = _POSTGRESQL_URL.fullmatch(url)
        if parts is None:
            raise ConfigError(f"expected {EXPECTED_URL}, got something else (not shown: it may hold a password)")
        if any("password" in key for key, _ in parse_qsl(parts["query"] or "", keep_blank_values=True)):
            raise ConfigError(f"expected {EXPECTED_URL}, got a password among the options")
        user, host, database = parts["user"], parts["host"], parts["database"] or ""
        hidden = "" if parts["password"] is None else ":***"
        shown = f"postgresql://{'' if user is None else f'{user}{hidden}@'}{host}{database}"
        return cls(None, f"postgresql+psycopg://{url.partition('://')[2]}", shown)


def tidy_url(text: str) -> str:
    """A URL as somebody gave it, without the blanks around it; OFF, whatever the case, as OFF."""
    url = text.strip()
    return OFF if url.lower() == OFF else url


def absolute_url(url: str) -> str:
    """The same database for a process that works in another folder; `off` and URLs of servers stay as they are.

    Raises:
        ConfigError: see DatabaseUrl.parse.
    """
    if url == OFF:
        return url
    file = DatabaseUrl.parse(url).file
    return url if file is None else f"{_SQLITE}{file.absolute()}"
