"""Reads an object of S3 into a file: with a limit, in constant memory, and with errors of one line.

boto3 is the extra `aws`; it is imported when an object is read. It finds credentials, region and endpoint itself.
"""

import contextlib
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

from serving.source.errors import FetchError, UnusableArchiveError
from serving.source.location import S3Object
from textclf.errors import ConfigError

_CHUNK_BYTES = 1 << 18
_ATTEMPTS = 4
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
# Code of S3's error -> what is wrong, and what to do.
_PROBLEMS = {
    "NoSuchBucket": ("there is no such bucket", "correct BUCKET_NAME or MODEL_PATH, or the region (AWS_REGION)"),
    "NoSuchKey": ("there is no such key in the bucket", "correct MODEL_PATH"),
    "AccessDenied": ("access is denied", "give the credentials or the role the permission s3:GetObject"),
    "InvalidAccessKeyId": ("the access key is unknown", "set the AWS credentials of an account that exists"),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", "correct the AWS credentials"),
    "ExpiredToken": ("the credentials have expired", "renew the AWS credentials"),
    "PreconditionFailed": ("the object changed while it was read", "start again"),
    "PermanentRedirect": ("the bucket is in another region", "set AWS_REGION to the region of the bucket"),
    "InvalidObjectState": ("the object is in an archive tier", "restore it, or name another object"),
}
# Responses without a body have the status in place of the code.
_CODES = {"404": "NoSuchKey", "403": "AccessDenied", "412": "PreconditionFailed", "301": "PermanentRedirect"}


def s3_client() -> Any:
    """Return a client of S3.

    Raises:
        ConfigError: if boto3 is not installed, or its settings can't be used.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"MODEL_PATH, BUCKET_NAME: S3 needs the package {error.name}, found none; install textclf with its extra "
            f"`aws`, or build the image with --build-arg EXTRAS=aws"
        ) from None
    # SageMaker sets AWS_REGION, and boto3 reads AWS_DEFAULT_REGION only.
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or None
    # Servers other than AWS need not know a host name for each bucket.
    has_endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3")
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
        s3={"addressing_style": "path"} if has_endpoint else None,
    )
    try:
        return boto3.session.Session().client("s3", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"AWS settings: expected ones that boto3 accepts, got a {type(error).__name__}; check AWS_PROFILE, "
            f"AWS_REGION and AWS_ENDPOINT_URL"
        ) from None


def read_object(client: Any, source: S3Object, target: Path, max_bytes: int) -> str:
    """Write an object to a new file and return its ETag; a broken connection continues where it stopped.

    Raises:
        FetchError: if the object can't be read.
        UnusableArchiveError: if it is larger than `max_bytes`.
        OSError: if the file can't be written.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionClosedError,
        IncompleteReadError,
        ReadTimeoutError,
        ResponseStreamingError,
    )

    broken = (ConnectionClosedError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
    received, etag, reason = 0, "", ""
    with open(target, "xb") as file:
        for _ in range(_ATTEMPTS):
            rest: dict[str, str] = {}
            if received:
                rest.update(Range=f"bytes={received}-", IfMatch=etag)
            try:
                response = client.get_object(Bucket=source.bucket, Key=source.key, **rest)
                with contextlib.closing(response["Body"]) as body:
                    etag = response["ETag"]
                    received = _start(source, response, received)
                    file.seek(received)
                    file.truncate()
                    _check_size(source, received + response["ContentLength"], max_bytes)
                    for chunk in body.iter_chunks(_CHUNK_BYTES):
                        file.write(chunk)
                        received += len(chunk)
                        _check_size(source, received, max_bytes)
                return str(etag).strip('"')
            except broken as error:
                reason = type(error).__name__
            except ClientError as error:
                raise FetchError(_sentence(source, error)) from None
            # Its message may contain the endpoint with a password.
            except BotoCoreError as error:
                raise FetchError(_other_sentence(source, type(error).__name__)) from None
    raise FetchError(
        f"{source}: the connection broke {_ATTEMPTS} times, at last after {received:,} bytes ({reason}); check the "
        f"network, and start again"
    )


def _start(source: S3Object, response: Any, received: int) -> int:
    """The position of a response's first byte: a server that knows no Range sends the whole object again."""
    if response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.PARTIAL_CONTENT:
        return 0
    if not str(response.get("ContentRange", "")).startswith(f"bytes {received}-"):
        raise FetchError(f"{source}: expected the bytes from {received:,} on, got others; check AWS_ENDPOINT_URL")
    return received


def _check_size(source: S3Object, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise UnusableArchiveError(
            f"{source}: expected at most {max_bytes:,} bytes, got {size:,} or more; raise MODEL_MAX_BYTES if you trust "
            f"the archive"
        )


def _sentence(source: S3Object, error: Any) -> str:
    """The line about an error that S3 sent; its own message may contain names of users."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    code = _CODES.get(code, code)
    problem, remedy = _PROBLEMS.get(code, (f"S3 answered {code[:50]}", "check BUCKET_NAME, MODEL_PATH and AWS_REGION"))
    return f"{source}: {problem}; {remedy}"


def _other_sentence(source: S3Object, kind: str) -> str:
    """The line about an error of boto3 itself."""
    if "Credential" in kind or kind == "TokenRetrievalError":
        return (
            f"{source}: expected AWS credentials, found none that can be used ({kind}); set AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or give the container a role"
        )
    return f"{source}: S3 can't be reached ({kind}); check the network, AWS_REGION and AWS_ENDPOINT_URL"
