"""Names of container images, and the command lines that build and push them; nothing here runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.cloud.calls import Call, Program
from textclf.errors import ConfigError

# Stages of the Dockerfile.
TRAINING, SERVING = "training", "serving"
# SageMaker runs on this platform, and refuses the manifests that docker makes for provenance.
_BUILD = ("docker", "buildx", "build", "--platform", "linux/amd64", "--provenance=false", "--output", "type=docker")
# SageMaker gives the model to root, so the server starts as root there.
_ARGUMENTS = {SERVING: ("USER=root",), TRAINING: ()}
_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^@]+))?(?:@(.+))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class EcrImage:
    """An image in ECR, from its URI; `tag` and `digest` may be empty."""

    account: str
    region: str
    repository: str
    tag: str
    digest: str


def is_uri(image: str) -> bool:
    """Whether the argument IMAGE names an image in a registry, not a repository to build and push to."""
    host = image.partition("/")[0]
    return "@" in image or ("/" in image and ("." in host or ":" in host))


def parse_ecr(image: str) -> EcrImage | None:
    """The parts of the URI of an image in ECR; None for another registry."""
    found = _ECR.fullmatch(image)
    return EcrImage(*(part or "" for part in found.groups())) if found else None


def check_tag(tag: str) -> None:
    """Check a tag that a user gave.

    Raises:
        ConfigError: if docker would refuse it.
    """
    if not _TAG.fullmatch(tag):
        raise ConfigError(
            f"tag {tag!r:.80}: expected at most 128 letters, digits, dots, hyphens and underscores; choose another"
        )


def digest_uri(repository_uri: str, digest: str) -> str:
    """The URI of exactly one image."""
    return f"{repository_uri}@{digest}"


def expected_repository_uri(repository: str, region: str) -> str:
    """The URI of a repository for --dry-run, which does not know the account."""
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"ACCOUNT.dkr.ecr.{region}.amazonaws.com{suffix}/{repository}"


def build_program(target: str, uri: str, root: Path, build_arguments: Sequence[str]) -> Program:
    """Build one stage of the Dockerfile in `root` as the image `uri`; of two arguments of one name the last counts."""
    arguments = [word for argument in (*_ARGUMENTS[target], *build_arguments) for word in ("--build-arg", argument)]
    return Program([*_BUILD, "--target", target, *arguments, "--tag", uri, str(root)])


def login_program(registry: str) -> Program:
    """Log in to a registry; the password comes from standard input, so that no list of processes shows it."""
    return Program(["docker", "login", "--username", "AWS", "--password-stdin", registry], needs_password=True)


def push_program(uri: str) -> Program:
    """Push the image `uri`."""
    return Program(["docker", "push", uri])


def describe_repository_call(repository: str) -> Call:
    """Look for a repository of ECR."""
    return Call("ecr", "DescribeRepositories", {"repositoryNames": [repository]})


def create_repository_call(repository: str) -> Call:
    """Make a repository whose images are scanned, and whose tags never move to another image."""
    return Call(
        "ecr",
        "CreateRepository",
        {
            "repositoryName": repository,
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": {"scanOnPush": True},
        },
    )


def describe_image_call(repository: str, tag: str, account: str = "") -> Call:
    """Look for the image with a tag; `account` if the repository is another account's."""
    owner = {"registryId": account} if account else {}
    return Call("ecr", "DescribeImages", {"repositoryName": repository, "imageIds": [{"imageTag": tag}], **owner})


def authorization_call() -> Call:
    """Ask for the password of the registry."""
    return Call("ecr", "GetAuthorizationToken", {})
