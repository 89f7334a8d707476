"""Calls of AWS as values: built by pure functions, printed by --dry-run, checked and made here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from ops.cloud.errors import aws_errors_named
from ops.cloud.shapes import check_parameters
from textclf.errors import ConfigError

DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class Call:
    """One call: service, operation and parameters with AWS's names."""

    service: str
    operation: str
    parameters: dict[str, Any]

    def check(self) -> None:
        """Check the parameters without AWS.

        Raises:
            ConfigError: if AWS would refuse one of them.
        """
        check_parameters(self.service, self.operation, self.parameters)


@dataclass(frozen=True)
class Program:
    """One run of a program, such as docker."""

    arguments: Sequence[str]


class Cloud:
    """Makes calls with the credentials of a profile; opens no connection before the first one.

    Args:
        session: a boto3 session.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}

    @property
    def region(self) -> str:
        """Name of the region of all calls."""
        return str(self._session.region_name)

    def call(self, call: Call) -> dict[str, Any]:
        """Make a call, and return AWS's response.

        Raises:
            ConfigError: if a parameter is not accepted.
            CloudError: if AWS refuses the call or can't be reached.
        """
        from botocore import xform_name

        call.check()
        with aws_errors_named(call.operation):
            client = self._client(call.service)
            response: dict[str, Any] = getattr(client, xform_name(call.operation))(**call.parameters)
            return response

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            from botocore.config import Config

            retries = Config(retries={"mode": "standard", "max_attempts": 5})
            self._clients[service] = self._session.client(service, config=retries)
        return self._clients[service]


@dataclass(frozen=True)
class Account:
    """Which profile and region a command uses."""

    profile: str
    region: str = ""

    def open(self) -> Cloud:
        """The cloud with the credentials of the profile.

        Without --region the profile's region counts, else us-east-1. The profile `default` may be missing: then boto3
        looks for credentials in its other places.

        Raises:
            ConfigError: if boto3 is not installed, or the profile does not exist.
        """
        return Cloud(self._session(is_dry=False))

    def dry_region(self) -> str:
        """The region for --dry-run, which accepts a profile that does not exist."""
        return str(self._session(is_dry=True).region_name)

    def _session(self, is_dry: bool) -> Any:
        try:
            import boto3
        except ImportError:
            raise ConfigError(
                "expected the package boto3, which is missing; install it: pip install '.[aws]'"
            ) from None
        known = boto3.Session().available_profiles
        is_optional = is_dry or self.profile == "default"
        if self.profile not in known and not is_optional:
            raise ConfigError(
                f"profile {self.profile!r:.60}: expected a profile of ~/.aws/config, found "
                f"{', '.join(known) or 'none'}; choose one, or make it with aws configure --profile NAME"
            )
        profile = self.profile if self.profile in known else None
        region = self.region or boto3.Session(profile_name=profile).region_name or DEFAULT_REGION
        return boto3.Session(profile_name=profile, region_name=region)


@dataclass
class Plan:
    """The steps of a command, in order; --dry-run prints them as JSON and makes no call."""

    steps: list[Call | Program] = field(default_factory=list)

    def show(self) -> None:
        """Print the steps; the parameters of calls are exact, and checked before.

        Raises:
            ConfigError: if AWS would refuse a parameter.
        """
        for step in self.steps:
            if isinstance(step, Call):
                step.check()
        click.echo(json.dumps([_shown(step) for step in self.steps], indent=2, ensure_ascii=False))


def _shown(step: Call | Program) -> Mapping[str, Any]:
    if isinstance(step, Program):
        return {"run": list(step.arguments)}
    return {"service": step.service, "call": step.operation, "parameters": step.parameters}
