"""Start a training job of SageMaker: `python -m ops.training SHORTNAME PROFILE IMAGE`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from ops.cloud import config_files, images
from ops.cloud.deploying import job_step, make_all
from ops.cloud.image_argument import planned_image, ready_image
from ops.cloud.names import TRAINING_JOB, check_name, stamped_name
from ops.cloud.options import Setup, image_arguments, setup_options, wait_option
from ops.cloud.pushing import ROOT
from ops.cloud.results import print_model, say, wait_for_end
from ops.cloud.training_checks import check_definition
from ops.cloud.training_requests import model_uri, resumed_definition, training_call
from ops.cloud.waiting import TRAINING_JOB as FOLLOWED
from serving.sagemaker.metric_lines import metric_definitions
from textclf.cli.commands import Command

HYPERPARAMETERS = ROOT / "local_test" / "test_dir" / "input" / "config" / "hyperparameters.json"


@click.command(cls=Command)
@image_arguments("short_name")
@click.option(
    "--hyperparameters",
    type=click.Path(path_type=Path),
    default=HYPERPARAMETERS,
    metavar="FILE",
    show_default="local_test/test_dir/input/config/hyperparameters.json",
    help="JSON file of hyperparameters, as train takes it; the default belongs to the toy data.",
)
@click.option("--resume", default="", metavar="JOB", help="Continue from the checkpoints of this stopped job.")
@wait_option("job ends")
@setup_options
def main(
    setup: Setup,
    short_name: str,
    image: str,
    hyperparameters: Path,
    resume: str,
    build_arguments: Sequence[str],
    wait: bool,
) -> None:
    """Build and push the training image IMAGE, start the job SHORTNAME-YYYYmmddHHMMSS, and print the URI of its model.

    PROFILE is a profile of ~/.aws/config. IMAGE is the name of a repository of ECR, or the URI of an image that exists.
    The request is made of ops/config/training-job-definition.json, tags.json and the hyperparameters.
    """
    name = stamped_name(short_name, datetime.now(UTC), TRAINING_JOB)
    definition = config_files.read_part(setup.folder, config_files.TRAINING, setup.values(name))
    if resume:
        check_name(resume, TRAINING_JOB)
        earlier = config_files.read_part(setup.folder, config_files.TRAINING, setup.values(resume))
        definition = resumed_definition(definition, earlier)
    check_definition(definition)
    values, tags = config_files.read_hyperparameters(hyperparameters), config_files.read_tags(setup.folder)
    uri, plan = planned_image(setup, image, images.TRAINING, build_arguments)
    call = training_call(name, uri, definition, values, metric_definitions(), tags)
    plan.add(call)
    if setup.is_dry:
        plan.show()
        return
    cloud = setup.account.open()
    uri = ready_image(cloud, image, images.TRAINING, build_arguments)
    call = training_call(name, uri, definition, values, metric_definitions(), tags)
    make_all(cloud, [job_step(call, FOLLOWED, name)])
    say(f"training job: {name} in {cloud.region}, image {uri}")
    if wait:
        print_model(wait_for_end(cloud, FOLLOWED, name))
    else:
        click.echo(model_uri(definition, name))


if __name__ == "__main__":
    main()
