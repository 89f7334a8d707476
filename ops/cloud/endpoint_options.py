"""Options of endpoints that `deploy` and `update` share."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from ops.cloud import config_files
from ops.cloud.calls import Call
from ops.cloud.endpoint_requests import (
    MEMORY_SIZES,
    Json,
    check_serverless_model,
    endpoint_config_call,
    model_call,
    serverless_config,
    serverless_environment,
)
from ops.cloud.options import Setup

# Only with --serverless.
_SERVERLESS_NAMES = ("memory", "max_concurrency", "provisioned")
_NAMES = ("is_serverless", *_SERVERLESS_NAMES, "with_clarify")


@dataclass(frozen=True)
class EndpointOptions:
    """How the instances of an endpoint run."""

    is_serverless: bool
    memory: int
    max_concurrency: int
    provisioned: int
    with_clarify: bool

    def calls(
        self,
        setup: Setup,
        version: str,
        image: str,
        model_data: str,
        environment: Mapping[str, str],
        tags: Sequence[Mapping[str, str]],
    ) -> tuple[Call, Call]:
        """The calls that make the model and the endpoint configuration, both named `version`.

        Args:
            setup: has the folder of configuration files.
            version: name of both.
            image: URI of the serving image.
            model_data: s3:// URI of model.tar.gz.
            environment: settings of the server.
            tags: Key and Value of each tag.

        Raises:
            ConfigError: if an option or a configuration file is not accepted.
        """
        serverless: Json | None = None
        if self.is_serverless:
            serverless = serverless_config(self.memory, self.max_concurrency, self.provisioned)
            environment = serverless_environment(environment)
        read = functools.partial(config_files.read_part, setup.folder, values=setup.values(version))
        model, variant = read(config_files.MODEL), read(config_files.VARIANT)
        if serverless:
            check_serverless_model(model)
        explainer = read(config_files.EXPLAINER) if self.with_clarify else None
        return (
            model_call(version, image, model_data, model, environment, tags),
            endpoint_config_call(version, version, variant, tags, serverless, explainer),
        )


def endpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command: it gets EndpointOptions as `endpoint`."""

    @click.option("--serverless", "is_serverless", is_flag=True, help="Start instances when requests come.")
    @click.option(
        "--memory",
        type=click.Choice(list(map(str, MEMORY_SIZES))),
        default="2048",
        callback=lambda _context, _option, value: int(value),
        help="MB of memory of a serverless instance; its cores are in proportion.",
    )
    @click.option(
        "--max-concurrency",
        type=click.IntRange(1, 200),
        default=5,
        help="Requests at a time of a serverless endpoint.",
    )
    @click.option(
        "--provisioned",
        type=click.IntRange(0, 200),
        default=0,
        help="Requests at a time for which serverless instances are kept warm; costs money all the time.",
    )
    @click.option(
        "--clarify",
        "with_clarify",
        is_flag=True,
        help="Let SageMaker Clarify explain: explainer-config in --config-dir.",
    )
    @functools.wraps(command)
    def with_endpoint(**values: Any) -> Any:
        if not values["is_serverless"]:
            _refuse_serverless_options()
        return command(endpoint=EndpointOptions(**{name: values.pop(name) for name in _NAMES}), **values)

    return with_endpoint


def _refuse_serverless_options() -> None:
    context = click.get_current_context()
    for name in _SERVERLESS_NAMES:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --serverless; add that, or leave it out")
