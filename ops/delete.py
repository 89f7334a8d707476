"""Delete an endpoint of SageMaker, its configuration and its model: `python -m ops.delete NAME PROFILE`."""

import click

from ops.cloud.calls import Plan
from ops.cloud.deploying import delete_all
from ops.cloud.endpoint_requests import delete_calls, describe_config_call, models_of
from ops.cloud.names import ENDPOINT, check_name
from ops.cloud.options import Setup, setup_options
from ops.cloud.results import say
from ops.cloud.waiting import ENDPOINT as FOLLOWED
from textclf.cli.commands import Command


@click.command(cls=Command)
@click.argument("name")
@click.argument("profile")
@setup_options
def main(setup: Setup, name: str) -> None:
    """Delete the endpoint NAME, and the configuration and model that deploy or update made for it.

    A configuration or model of another name stays, and model.tar.gz in S3 too.
    """
    check_name(name, ENDPOINT)
    if setup.is_dry:
        Plan([FOLLOWED.describe(name), *delete_calls(name, f"{name}-TIME", [f"{name}-TIME"])]).show()
        return
    cloud = setup.account.open()
    config = str(cloud.call(FOLLOWED.describe(name))["EndpointConfigName"])
    models = models_of(cloud.call(describe_config_call(config)))
    endpoint, *others = delete_calls(
        name, config if _is_own(config, name) else "", [one for one in models if _is_own(one, name)]
    )
    cloud.call(endpoint)
    delete_all(cloud, others)
    if kept := [one for one in (config, *models) if not _is_own(one, name)]:
        say(f"kept, because deploy did not make them for this endpoint: {', '.join(kept)}")
    click.echo(name)


def _is_own(made: str, endpoint: str) -> bool:
    """Whether the name is the endpoint's with a time, as deploy and update make it."""
    return made.startswith(f"{endpoint}-") and made.removeprefix(f"{endpoint}-").isdigit()


if __name__ == "__main__":
    main()
