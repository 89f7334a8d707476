"""Errors of the cloud commands."""

import contextlib
from collections.abc import Iterator

from textclf.errors import TextClfError


class CloudError(TextClfError):
    """AWS refused a call, or a job that was waited for did not succeed."""


class JobFailedError(CloudError):
    """A job or an endpoint has ended without success."""


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
