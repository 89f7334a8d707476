"""Options that the cloud commands share, and the record that they make."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ops.cloud.account import Account
from ops.cloud.config_files import BUCKET, FOLDER, JOB_NAME, ROLE

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_PATH = click.Path(path_type=Path)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Setup:
    """Where a command works: account, configuration files, and whether it only prints its requests."""

    account: Account
    folder: Path
    role: str
    bucket: str
    is_dry: bool

    def values(self, job_name: str = "") -> dict[str, str]:
        """The values of the placeholders in configuration files."""
        return {ROLE: self.role, BUCKET: self.bucket, JOB_NAME: job_name}


def setup_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the argument PROFILE: it gets a Setup as `setup`."""

    @click.option("--region", default="", metavar="REGION", help="AWS region.", show_default="of the profile")
    @click.option("--config-dir", type=_PATH, default=FOLDER, metavar="DIR", show_default="ops/config",
                  help="Folder with the configuration files.")  # fmt: skip
    @click.option("--role", default="", metavar="ARN", envvar="SAGEMAKER_ROLE", show_envvar=True,
                  help="Role that SageMaker works with; fills <ROLE> in the files.")  # fmt: skip
    @click.option("--bucket", default="", metavar="NAME", envvar="SAGEMAKER_BUCKET", show_envvar=True,
                  help="Bucket of S3; fills <BUCKET> in the files.")  # fmt: skip
    @click.option("--dry-run", is_flag=True, help="Print the requests as JSON, without credentials, and make no call.")
    @functools.wraps(command)
    def with_setup(**values: Any) -> Any:
        profile, region, folder = values.pop("profile"), values.pop("region"), values.pop("config_dir")
        role, bucket, is_dry = values.pop("role"), values.pop("bucket"), values.pop("dry_run")
        return command(setup=Setup(Account(profile, region), folder, role, bucket, is_dry), **values)

    return with_setup


def wait_option(event: str) -> Decorator:
    """The option --wait."""
    return click.option("--wait", is_flag=True, help=f"Wait until the {event}; exit with 1 if it fails.")


def build_argument_option() -> Decorator:
    """The option --build-arg."""
    return click.option(
        "--build-arg",
        "build_arguments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Argument of the Dockerfile; may be repeated.",
    )


def image_arguments(name: str) -> Decorator:
    """The arguments `name`, PROFILE and IMAGE, and the option --build-arg of the image."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument(name, metavar=name.replace("_", "").upper())
        @click.argument("profile")
        @click.argument("image")
        @build_argument_option()
        @functools.wraps(command)
        def with_image(**values: Any) -> Any:
            return command(**values)

        return with_image

    return decorate


def environment_option() -> Decorator:
    """The option --env."""
    return click.option(
        "--env", "environment", multiple=True, metavar="NAME=VALUE", callback=_settings,
        help="Setting of the server; may be repeated.",
    )  # fmt: skip


def model_data_option() -> Decorator:
    """The option --model-data."""
    return click.option(
        "--model-data", required=True, metavar="S3_URI", help="Where model.tar.gz is, as the training prints it."
    )


def _settings(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Mapping[str, str]:
    found = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not _SETTING.fullmatch(name):
            raise click.BadParameter(f"expected NAME=VALUE, got {name!r:.60}")
        if name in found:
            raise click.BadParameter(f"expected {name} once, got it twice")
        found[name] = value
    return found
