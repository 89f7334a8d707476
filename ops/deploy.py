"""Make an endpoint of SageMaker: `python -m ops.deploy NAME PROFILE IMAGE --model-data S3_URI`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from ops.cloud import config_files, images
from ops.cloud.deploying import Step, endpoint_step, make_all
from ops.cloud.endpoint_options import EndpointOptions, endpoint_options
from ops.cloud.endpoint_requests import delete_calls, endpoint_call
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
@wait_option("endpoint is ready")
@setup_options
def main(
    setup: Setup,
    name: str,
    image: str,
    model_data: str,
    endpoint: EndpointOptions,
    environment: Mapping[str, str],
    build_arguments: Sequence[str],
    wait: bool,
) -> None:
    """Build and push the serving image IMAGE, and make the endpoint NAME with the model of a training job.

    PROFILE is a profile of ~/.aws/config. IMAGE is the name of a repository of ECR, or the URI of an image that exists.
    An endpoint costs money until python -m ops.delete NAME PROFILE deletes it; a serverless one costs per request.
    """
    version = stamped_name(name, datetime.now(UTC), ENDPOINT)
    tags = config_files.read_tags(setup.folder)
    uri, plan = planned_image(setup, image, images.SERVING, build_arguments)
    last = endpoint_call(name, version, tags)
    plan.add(*endpoint.calls(setup, version, uri, model_data, environment, tags), last)
    if setup.is_dry:
        plan.show()
        return
    cloud = setup.account.open()
    uri = ready_image(cloud, image, images.SERVING, build_arguments)
    model, config = endpoint.calls(setup, version, uri, model_data, environment, tags)
    undo = delete_calls("", version, [version])
    make_all(cloud, [Step(model, undo[1]), Step(config, undo[0]), endpoint_step(last, name, version)])
    say(f"endpoint: {name} in {cloud.region}, model and configuration {version}")
    if wait:
        wait_for_end(cloud, FOLLOWED, name)
    click.echo(name)


if __name__ == "__main__":
    main()
