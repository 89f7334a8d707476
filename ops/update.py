"""Give an endpoint of SageMaker a new model: `python -m ops.update NAME PROFILE IMAGE --model-data S3_URI`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from ops.cloud import config_files, images
from ops.cloud.deploying import Step, check_deleted, delete_own, endpoint_step, make_all
from ops.cloud.endpoint_options import EndpointOptions, endpoint_options
from ops.cloud.endpoint_requests import delete_calls, describe_config_call, models_of, update_endpoint_call
from ops.cloud.errors import CloudError
from ops.cloud.image_argument import planned_image, ready_image
from ops.cloud.names import ENDPOINT, stamped_name
from ops.cloud.options import Setup, environment_option, image_arguments, model_data_option, setup_options, wait_option
from ops.cloud.results import say, wait_for_end
from ops.cloud.waiting import ENDPOINT as FOLLOWED
from textclf.cli.commands import Command


@click.command(cls=Command)
@image_arguments("name")
@model_data_option()
@endpoint_options
@environment_option()
@click.option(
    "--delete-old",
    is_flag=True,
    help="Delete the old model and configuration afterwards, if these commands made them; needs --wait.",
)
@wait_option("update ends")
@setup_options
def main(
    setup: Setup,
    name: str,
    image: str,
    model_data: str,
    endpoint: EndpointOptions,
    environment: Mapping[str, str],
    build_arguments: Sequence[str],
    delete_old: bool,
    wait: bool,
) -> None:
    """Build and push the serving image IMAGE, and replace the model of the endpoint NAME.

    The old model answers until the new one is healthy. If the new one does not become healthy, AWS keeps the old one;
    with --wait this is an error.
    """
    if delete_old and not wait:
        raise click.UsageError("--delete-old needs --wait, because the old model answers until the update ends")
    version = stamped_name(name, datetime.now(UTC), ENDPOINT)
    tags = config_files.read_tags(setup.folder)
    uri, plan = planned_image(setup, image, images.SERVING, build_arguments)
    update = update_endpoint_call(name, version)
    plan.add(FOLLOWED.describe(name), *endpoint.calls(setup, version, uri, model_data, environment, tags), update)
    if setup.is_dry:
        plan.show()
        return
    cloud = setup.account.open()
    old = str(cloud.call(FOLLOWED.describe(name))["EndpointConfigName"])
    old_models = models_of(cloud.call(describe_config_call(old))) if delete_old else []
    uri = ready_image(cloud, image, images.SERVING, build_arguments)
    model, config = endpoint.calls(setup, version, uri, model_data, environment, tags)
    undo = delete_calls("", version, [version])
    make_all(cloud, [Step(model, undo[1]), Step(config, undo[0]), endpoint_step(update, name, version)])
    say(f"endpoint: {name} in {cloud.region}, from {old} to {version}")
    if wait:
        check_updated(wait_for_end(cloud, FOLLOWED, name), version)
    click.echo(name)
    if delete_old:
        check_deleted(delete_own(cloud, name, old, old_models))


def check_updated(found: Mapping[str, str], version: str) -> None:
    """Check that an endpoint that is in service again has the new configuration.

    Raises:
        CloudError: if AWS went back to the old one.
    """
    if found["EndpointConfigName"] != version:
        reason = " ".join(found.get("FailureReason", "").split()) or "no reason given"
        raise CloudError(
            f"endpoint {found['EndpointName']}: expected {version}, but AWS went back to "
            f"{found['EndpointConfigName']}: {reason}"
        )


if __name__ == "__main__":
    main()
