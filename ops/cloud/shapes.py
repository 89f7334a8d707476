"""Check values against AWS's own description of its API, which botocore ships: names, types, lengths and patterns.

botocore itself checks types and minimum values only. These checks also find names that are too long, unknown keys with
their nearest name, and values outside a list, before any call is made.
"""

import difflib
import functools
import re
from collections.abc import Iterator
from typing import Any

from textclf.errors import ConfigError

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a text"),
    "integer": ((int,), "a whole number"),
    "long": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "structure": ((dict,), "an object"),
    "map": ((dict,), "an object"),
    "list": ((list,), "a list"),
}
# New instance types appear more often than this list is updated; only their form is checked.
_OPEN_LISTS = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")


@functools.cache
def service_model(service: str) -> Any:
    """botocore's description of a service, such as "sagemaker".

    Raises:
        ConfigError: if boto3 is not installed.
    """
    try:
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError:
        raise ConfigError("expected the package boto3, which is missing; install it: pip install '.[aws]'") from None
    # Without a session, whose profile may be damaged.
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def check_parameters(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """Check the parameters of a call.

    Raises:
        ConfigError: if AWS would refuse a parameter because of its name, type, length or form.
    """
    shape = service_model(service).operation_model(operation).input_shape
    if problem := next(problems(shape, parameters, operation), None):
        raise ConfigError(problem)


def check_part(service: str, shape: str, value: Any, path: str) -> None:
    """Check a part of a request, such as a configuration file, in which required keys may be missing.

    Raises:
        ConfigError: if a key is unknown or a value is not accepted; the message begins with `path`.
    """
    model = service_model(service).shape_for(shape)
    if problem := next(problems(model, value, path, is_partial=True), None):
        raise ConfigError(problem)


def problems(shape: Any, value: Any, path: str, *, is_partial: bool = False) -> Iterator[str]:
    """A sentence for each place where `value` does not fit the shape.

    Args:
        shape: shape of botocore's service model.
        value: JSON value.
        path: where the value is, for the sentences.
        is_partial: whether required keys may be missing.
    """
    types, expected = _TYPES.get(shape.type_name, ((object,), "a value"))
    is_right = isinstance(value, types) and (not isinstance(value, bool) or bool in types or object in types)
    if not is_right:
        yield f"{path}: expected {expected}, found {value!r:.60}; correct it"
        return
    yield from _size_problems(shape, value, path)
    if shape.type_name == "structure":
        yield from _structure_problems(shape, value, path, is_partial)
    elif shape.type_name == "list":
        for position, item in enumerate(value):
            yield from problems(shape.member, item, f"{path}[{position}]", is_partial=is_partial)
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from problems(shape.key, key, f"{path}: the name {key!r}")
            yield from problems(shape.value, item, f"{path}.{key}", is_partial=is_partial)
    elif shape.type_name == "string":
        yield from _text_problems(shape, value, path)


def _structure_problems(shape: Any, value: dict[str, Any], path: str, is_partial: bool) -> Iterator[str]:
    for key, item in value.items():
        if key in shape.members:
            yield from problems(shape.members[key], item, f"{path}.{key}", is_partial=is_partial)
            continue
        nearest = difflib.get_close_matches(key, shape.members, n=1, cutoff=0)
        yield f"{path}: unknown key {key}; the nearest known one is {nearest[0] if nearest else 'none'}"
    if not is_partial:
        for key in shape.required_members:
            if key not in value:
                yield f"{path}: expected the key {key}, which is missing; add it"


def _size_problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    smallest, largest = shape.metadata.get("min"), shape.metadata.get("max")
    is_number = isinstance(value, int | float)
    if isinstance(value, bool) or not (is_number or isinstance(value, str | list | dict)):
        return
    size = value if is_number else len(value)
    unit = "" if is_number else " characters" if isinstance(value, str) else " entries"
    if smallest is not None and size < smallest:
        yield f"{path}: expected at least {smallest}{unit}, found {size}; correct it"
    if largest is not None and size > largest:
        yield (
            f"{path}: expected at most {largest}{unit}, found {size}; shorten it"
            if unit
            else (f"{path}: expected at most {largest}, found {size}; lower it")
        )


def _text_problems(shape: Any, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        if not (_OPEN_LISTS.fullmatch(shape.enum[0]) and _OPEN_LISTS.fullmatch(value)):
            nearest = difflib.get_close_matches(value, shape.enum, n=1, cutoff=0)[0]
            yield f"{path}: expected one of AWS's names, found {value!r:.60}; the nearest one is {nearest}"
        return
    pattern = shape.metadata.get("pattern", "")
    if pattern and not _matches(pattern, value):
        yield f"{path}: expected a text of the form {pattern}, found {value!r:.80}; correct it"


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:  # A form of Java's regular expressions; AWS checks it.
        return True
