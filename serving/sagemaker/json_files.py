"""The JSON files in input/config of a training job."""

import json
from pathlib import Path
from typing import Any

from textclf.errors import ConfigError


def read_object(path: Path, content: str) -> dict[str, Any]:
    """The JSON object in a file; {} if there is no such file.

    Args:
        content: what the object is of, for the error message.

    Raises:
        ConfigError: if the file is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # Also if the file is not UTF-8, or nested too deeply.
        raise ConfigError(f"{path}: expected a JSON object of {content} ({error}); fix the file") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object of {content}, got {value!r:.80}; fix the file")
    return value
