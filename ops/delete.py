"""Delete an endpoint of SageMaker, its configuration and its model: `python -m ops.delete NAME PROFILE`."""

import click

from ops.cloud.calls import Cloud, Plan
from ops.cloud.deploying import check_deleted, delete_all, delete_own
from ops.cloud.endpoint_requests import delete_calls, describe_config_call, models_of
from ops.cloud.errors import CloudError
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
    models = _models(cloud, config)
    check_deleted(delete_all(cloud, delete_calls(name, "", [])))
    check_deleted(delete_own(cloud, name, config, models))
    click.echo(name)


def _models(cloud: Cloud, config: str) -> list[str]:
    """The models of a configuration; if it can't be read, the model that deploy made together with it."""
    try:
        return models_of(cloud.call(describe_config_call(config)))
    except CloudError as error:
        say(str(error))
        return [config]


if __name__ == "__main__":
    main()
