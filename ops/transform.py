"""Score files of S3 with a batch transform job: `python -m ops.transform SHORTNAME PROFILE IMAGE --model-data …`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from ops.cloud import config_files, images
from ops.cloud.deploying import Step, check_deleted, delete_all, job_step, make_all
from ops.cloud.endpoint_requests import delete_calls, model_call, transform_call
from ops.cloud.errors import JobFailedError
from ops.cloud.image_argument import planned_image, ready_image
from ops.cloud.names import TRANSFORM_JOB, stamped_name
from ops.cloud.options import Setup, environment_option, image_arguments, model_data_option, setup_options, wait_option
from ops.cloud.results import say, wait_for_end
from ops.cloud.waiting import TRANSFORM_JOB as FOLLOWED
from textclf.cli.commands import Command


@click.command(cls=Command)
@image_arguments("short_name")
@model_data_option()
@click.option("--input", "source", required=True, metavar="S3_URI", help="A file, or the beginning of several names.")
@click.option("--output", "target", required=True, metavar="S3_URI", help="Folder for the results.")
@environment_option()
@wait_option("job ends")
@setup_options
def main(
    setup: Setup,
    short_name: str,
    image: str,
    model_data: str,
    source: str,
    target: str,
    environment: Mapping[str, str],
    build_arguments: Sequence[str],
    wait: bool,
) -> None:
    """Build and push the serving image IMAGE, and score files with the job SHORTNAME-YYYYmmddHHMMSS.

    PROFILE is a profile of ~/.aws/config. IMAGE is the name of a repository of ECR, or the URI of an image that exists.
    The result of NAME is NAME.out in the folder of --output. With --wait the model that the job used is deleted
    afterwards; model.tar.gz stays.
    """
    name = stamped_name(short_name, datetime.now(UTC), TRANSFORM_JOB)
    tags = config_files.read_tags(setup.folder)
    config = config_files.read_part(setup.folder, config_files.TRANSFORM, setup.values(name))
    model = config_files.read_part(setup.folder, config_files.MODEL, setup.values(name))
    job = transform_call(name, name, config, source, target, environment, tags)
    uri, plan = planned_image(setup, image, images.SERVING, build_arguments)
    plan.add(model_call(name, uri, model_data, model, {}, tags), job)
    if setup.is_dry:
        plan.show()
        return
    cloud = setup.account.open()
    uri = ready_image(cloud, image, images.SERVING, build_arguments)
    undo = delete_calls("", "", [name])
    made = model_call(name, uri, model_data, model, {}, tags)
    make_all(cloud, [Step(made, undo[0]), job_step(job, FOLLOWED, name)])
    say(f"transform job: {name} in {cloud.region}")
    if not wait:
        click.echo(target)
        return
    try:
        wait_for_end(cloud, FOLLOWED, name)
    except JobFailedError:  # After any other error the job may still need its model.
        delete_all(cloud, undo)
        raise
    click.echo(target)
    check_deleted(delete_all(cloud, undo))


if __name__ == "__main__":
    main()
