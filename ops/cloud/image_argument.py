"""The argument IMAGE of the commands: a repository to build and push to, or the URI of an image that exists."""

from collections.abc import Sequence

from ops.cloud import images
from ops.cloud.calls import Cloud, Plan
from ops.cloud.options import Setup
from ops.cloud.pushing import Build, pinned, plan_push, push


def planned_image(setup: Setup, image: str, target: str, build_arguments: Sequence[str]) -> tuple[str, Plan]:
    """The URI in the requests of --dry-run, and the steps that make the image.

    For a repository, ACCOUNT and DIGEST stand for what only AWS knows.
    """
    if images.is_uri(image):
        return image, Plan()
    region = setup.account.dry_region()
    images.create_repository_call(image).check()
    uri = images.digest_uri(images.expected_repository_uri(image, region), "DIGEST")
    return uri, plan_push(Build(image, target, build_arguments=build_arguments), region)


def ready_image(cloud: Cloud, image: str, target: str, build_arguments: Sequence[str]) -> str:
    """The URI of the image with its digest; a repository's image is built and pushed if necessary.

    Raises:
        ConfigError: if the name is not accepted, docker is not installed, or the checkout gives no tag.
        CloudError: if AWS refuses a call, docker fails, or the image does not exist.
    """
    if images.is_uri(image):
        return pinned(cloud, image)
    return push(cloud, Build(image, target, build_arguments=build_arguments))
