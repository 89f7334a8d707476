"""Calls of AWS as values: built by pure functions, printed by --dry-run, checked and made here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from ops.cloud.errors import aws_errors_named
from ops.cloud.shapes import check_parameters


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
    """One run of a program, such as docker; with `needs_password` it reads the registry's from standard input."""

    arguments: Sequence[str]
    needs_password: bool = False


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


@dataclass
class Plan:
    """The steps of a command, in order; --dry-run prints them as JSON and makes no call."""

    steps: list[Call | Program] = field(default_factory=list)

    def add(self, *calls: Call) -> None:
        """Add calls.

        Raises:
            ConfigError: if AWS would refuse a parameter.
        """
        for call in calls:
            call.check()
        self.steps += calls

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
