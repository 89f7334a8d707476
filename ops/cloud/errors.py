"""Errors of the cloud commands."""

import contextlib
from collections.abc import Iterator
from typing import Any

from textclf.errors import TextClfError


class CloudError(TextClfError):
    """AWS refused a call, or a job that was waited for did not succeed."""


class JobFailedError(CloudError):
    """A job or an endpoint has ended without success."""


def error_code(error: BaseException) -> str:
    """AWS's code of an error of a call; "" if AWS did not answer."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def is_missing(error: CloudError) -> bool:
    """Whether AWS says that what the call names does not exist."""
    message = str(_response(error).get("Error", {}).get("Message", ""))
    is_not_found = message.lower().startswith(("could not find", "requested resource not found"))
    return error_code(error) == "ResourceNotFound" or (error_code(error) == "ValidationException" and is_not_found)


def is_refusal(error: BaseException) -> bool:
    """Whether AWS certainly did not do what the call asked for.

    After a lost answer the client repeats the call. Then a refusal may mean that AWS obeyed the first time.
    """
    facts = _response(error).get("ResponseMetadata", {})
    return bool(error_code(error)) and not facts.get("RetryAttempts") and facts.get("HTTPStatusCode", 400) < 500


def _response(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = getattr(error.__cause__, "response", {})
    return found


@contextlib.contextmanager
def aws_errors_named(doing: str) -> Iterator[None]:
    """Turn an error of boto3 inside the block into a CloudError; `doing` says what was tried.

    Raises:
        CloudError: if AWS or its client raises an error.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        code, message = details.get("Code", "unknown"), details.get("Message", str(error))
        raise CloudError(f"{doing}: AWS refused it with {code}: {message}") from error
    except BotoCoreError as error:
        raise CloudError(f"{doing}: {error}; check the profile, the region and the network") from error
