"""Build an image, push it to ECR and find its digest."""

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ops.cloud import images
from ops.cloud.calls import Call, Cloud, Plan, Program
from ops.cloud.errors import CloudError, error_code
from textclf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
_COMMIT_CHARS, _ARGUMENTS_CHARS = 12, 6


@dataclass(frozen=True)
class Build:
    """An image to build: a stage of the Dockerfile, for the repository `image`; without a tag the commit names it."""

    image: str
    target: str
    tag: str = ""
    build_arguments: Sequence[str] = ()

    def resolved_tag(self, *, may_have_changes: bool = False) -> str:
        """The tag: the one that was given, or the stage and the commit, and a hash of arguments of the build.

        Raises:
            ConfigError: if none was given, and the checkout has no commit, or has changes although it may not.
        """
        if self.tag:
            return self.tag
        arguments = hashlib.sha256("\n".join(self.build_arguments).encode()).hexdigest()[:_ARGUMENTS_CHARS]
        suffix = f"-{arguments}" if self.build_arguments else ""
        return f"{self.target}-{commit(ROOT, may_have_changes=may_have_changes)}{suffix}"


def commit(root: Path, *, may_have_changes: bool = False) -> str:
    """The first characters of the commit of a checkout.

    Raises:
        ConfigError: if `root` is not a checkout of git, or has changes although it may not.
    """
    changes = "" if may_have_changes else _git(root, "status", "--porcelain")
    if changes:
        names = ", ".join(line[3:] for line in changes.splitlines()[:3])
        raise ConfigError(
            f"expected a checkout without changes, because the commit names the image; found changes: {names}; "
            f"commit them, or give a TAG"
        )
    return _git(root, "rev-parse", f"--short={_COMMIT_CHARS}", "HEAD")


def plan_push(build: Build, region: str) -> Plan:
    """The steps of `push`; ACCOUNT stands for the number that only AWS knows."""
    tag = build.resolved_tag(may_have_changes=True)
    repository_uri = images.expected_repository_uri(build.image, region)
    return Plan(
        [
            images.create_repository_call(build.image),
            images.describe_image_call(build.image, tag),
            *_programs(build, repository_uri, tag),
        ]
    )


def push(cloud: Cloud, build: Build) -> str:
    """Build and push an image; return its URI with the digest.

    The repository is made if it is missing. An image that was pushed for the same commit is used again.

    Raises:
        ConfigError: if the name is not accepted, docker is not installed, or the checkout gives no tag.
        CloudError: if AWS refuses a call, the tag is taken, or docker fails.
    """
    images.create_repository_call(build.image).check()
    tag = build.resolved_tag()
    repository_uri = _repository(cloud, build.image)
    digest = _digest(cloud, build.image, tag) if repository_uri else ""
    if digest and build.tag:
        raise CloudError(f"{repository_uri}:{tag}: expected a new tag, found the image {digest}; choose another TAG")
    if digest:
        click.echo(f"{repository_uri}:{tag} was pushed before", err=True)
        return images.digest_uri(repository_uri, digest)
    if shutil.which("docker") is None:
        raise ConfigError("expected the program docker with its plugin buildx, found none; install it")
    if not repository_uri:
        made = cloud.call(images.create_repository_call(build.image))
        repository_uri = str(made["repository"]["repositoryUri"])
    password = _password(cloud)
    for program in _programs(build, repository_uri, tag):
        _run(program, password if program.needs_password else "")
    digest = _digest(cloud, build.image, tag)
    if not digest:
        raise CloudError(f"{repository_uri}:{tag}: docker pushed it, but ECR does not have it; push it again")
    return images.digest_uri(repository_uri, digest)


def pinned(cloud: Cloud, image: str) -> str:
    """The URI with a digest for the URI of an image in ECR; any other URI unchanged.

    Raises:
        CloudError: if ECR has no image with the tag.
    """
    found = images.parse_ecr(image)
    if found is None or found.digest:
        return image
    tag = found.tag or "latest"
    digest = _digest(cloud, found.repository, tag, found.account)
    if not digest:
        raise CloudError(f"{image}: expected an image in ECR, found none with the tag {tag}; push it first")
    return images.digest_uri(image.removesuffix(f":{found.tag}"), digest)


def _programs(build: Build, repository_uri: str, tag: str) -> list[Program]:
    uri = f"{repository_uri}:{tag}"
    return [
        images.build_program(build.target, uri, ROOT, build.build_arguments),
        images.login_program(repository_uri.partition("/")[0]),
        images.push_program(uri),
    ]


def _repository(cloud: Cloud, name: str) -> str:
    """The URI of a repository; "" if there is none."""
    try:
        return str(cloud.call(images.describe_repository_call(name))["repositories"][0]["repositoryUri"])
    except CloudError as error:
        if error_code(error) == "RepositoryNotFoundException":
            return ""
        raise


def _digest(cloud: Cloud, repository: str, tag: str, account: str = "") -> str:
    """The digest of the image with a tag; "" without one."""
    call: Call = images.describe_image_call(repository, tag, account)
    try:
        return str(cloud.call(call)["imageDetails"][0]["imageDigest"])
    except CloudError as error:
        if error_code(error) == "ImageNotFoundException":
            return ""
        raise


def _password(cloud: Cloud) -> str:
    token = cloud.call(images.authorization_call())["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode().partition(":")[2]


def _run(program: Program, standard_input: str) -> None:
    """Run a program with its output on standard error, so that standard output has the digest only."""
    arguments = list(program.arguments)
    click.echo(f"$ {' '.join(arguments)}", err=True)
    status = subprocess.run(arguments, input=standard_input.encode(), stdout=2, check=False).returncode  # noqa: S603
    if status != 0:
        raise CloudError(f"{' '.join(arguments[:3])}: failed with status {status}; its messages are above")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"{root}: expected a checkout of git, whose commit names the image; give a TAG") from error
