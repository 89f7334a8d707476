"""Build an image for SageMaker and push it to ECR: `python -m ops.build_and_push IMAGE PROFILE [TAG]`."""

from collections.abc import Sequence

import click

from ops.cloud import images
from ops.cloud.options import Setup, build_argument_option, setup_options
from ops.cloud.pushing import Build, plan_push, push
from textclf.cli.commands import Command


@click.command(cls=Command)
@click.argument("image")
@click.argument("profile")
@click.argument("tag", default="")
@click.option(
    "--target",
    type=click.Choice((images.SERVING, images.TRAINING)),
    default=images.SERVING,
    help="Which image of the Dockerfile is built.",
)
@build_argument_option()
@setup_options
def main(setup: Setup, image: str, tag: str, target: str, build_arguments: Sequence[str]) -> None:
    """Build the repository IMAGE for linux/amd64, push it to ECR and print its URI with the digest.

    PROFILE is a profile of ~/.aws/config. Without TAG the stage and the commit are the tag; an image that was
    pushed for the same commit is used again.
    """
    build = Build(image, target, tag, build_arguments)
    images.create_repository_call(image).check()
    if tag:
        images.check_tag(tag)
    if setup.is_dry:
        plan_push(build, setup.account.dry_region()).show()
        return
    click.echo(push(setup.account.open(), build))


if __name__ == "__main__":
    main()
