"""The argument IMAGE of the commands: a repository to build and push to, or the URI of an image that exists."""

from collections.abc import Sequence

from ops.cloud import images
from ops.cloud.calls import Cloud, Plan
from ops.cloud.options import Setup
from ops.cloud.pushing import Build, pinned, plan_push, push
from textclf.errors import ConfigError


def planned_image(setup: Setup, image: str, target: str, build_arguments: Sequence[str]) -> tuple[str, Plan]:
    """The URI in the requests of --dry-run, and the steps that make the image.

    For a repository, ACCOUNT and DIGEST stand for what only AWS knows.

    Raises:
        ConfigError: if the image is in another region, or the name of the repository is not accepted.
    """
    region = setup.account.dry_region()
    if images.is_uri(image):
        check_region(image, region)
        return image, Plan()
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
        check_region(image, cloud.region)
        return pinned(cloud, image)
    return push(cloud, Build(image, target, build_arguments=build_arguments))


def check_region(image: str, region: str) -> None:
    """Check that an image in ECR is where the job runs, as SageMaker requires.

    Raises:
        ConfigError: if it is in another region.
    """
    found = images.parse_ecr(image)
    if found and found.region != region:
        raise ConfigError(
            f"{image}: expected an image in the region {region}; push it there, or give --region {found.region}"
        )
