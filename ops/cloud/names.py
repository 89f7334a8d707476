"""Names of jobs and endpoints, whose lengths AWS limits."""

import re
from datetime import datetime

from textclf.errors import ConfigError

TRAINING_JOB, TUNING_JOB, TRANSFORM_JOB, ENDPOINT = 63, 32, 63, 63
_TIME = "%Y%m%d%H%M%S"
# The hyphen and the time at the end of a name.
_STAMP = 15


def stamped_name(short_name: str, moment: datetime, limit: int) -> str:
    """The name SHORT_NAME-YYYYmmddHHMMSS, in the time zone of `moment`.

    Raises:
        ConfigError: if the name would have more than `limit` characters, or a character that AWS refuses.
    """
    check_name(short_name, limit - _STAMP, f"AWS allows {limit}, and the time takes {_STAMP}")
    return f"{short_name}-{moment.strftime(_TIME)}"


def is_own(made: str, endpoint: str) -> bool:
    """Whether `made` is the name that stamped_name gives a configuration or a model of this endpoint."""
    return re.fullmatch(f"{re.escape(endpoint)}-[0-9]{{{_STAMP - 1}}}", made) is not None


def check_name(name: str, limit: int, reason: str = "AWS's limit") -> None:
    """Check a name of letters, digits and hyphens.

    Raises:
        ConfigError: if the name is empty or too long, or has another character, or a hyphen at an end.
    """
    if not name or not all(char.isascii() and (char.isalnum() or char == "-") for char in name):
        raise ConfigError(f"name {name!r:.80}: expected letters, digits and hyphens; choose another name")
    if name[0] == "-" or name[-1] == "-":
        raise ConfigError(f"name {name!r:.80}: expected no hyphen at either end; choose another name")
    if len(name) > limit:
        raise ConfigError(f"name {name!r:.80}: expected at most {limit} characters ({reason}), found {len(name)}")
