"""Start a tuning job of SageMaker: `python -m ops.tuning SHORTNAME PROFILE IMAGE`."""

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from ops.cloud import config_files, images
from ops.cloud.deploying import job_step, make_all
from ops.cloud.image_argument import planned_image, ready_image
from ops.cloud.names import TUNING_JOB, stamped_name
from ops.cloud.options import Setup, image_arguments, setup_options, wait_option
from ops.cloud.results import save_best, say, wait_for_end
from ops.cloud.training_checks import check_definition
from ops.cloud.training_requests import (
    check_parent,
    check_parent_image,
    replaced_names,
    static_hyperparameters,
    tuning_call,
    warm_start_config,
)
from ops.cloud.waiting import TUNING_JOB as FOLLOWED
from ops.training import HYPERPARAMETERS
from serving.sagemaker.hyperparameters import parse_hyperparameters
from serving.sagemaker.metric_lines import metric_definitions
from textclf.cli.commands import Command
from textclf.errors import ConfigError
from textclf.files import check_writable
from textclf.tuning.options import MEASURED
from textclf.tuning.search_space import (
    SEARCHED,
    TABLE,
    Range,
    check_space,
    sagemaker_ranges,
    search_space,
    usual_space,
)


@click.command(cls=Command)
@image_arguments("short_name")
@click.option(
    "--search",
    "searched",
    multiple=True,
    type=click.Choice([item.name for item in TABLE]),
    show_default=", ".join(SEARCHED),
    help="Option to search; may be repeated. It replaces a value in the file of hyperparameters.",
)
@click.option(
    "--hyperparameters",
    type=click.Path(path_type=Path),
    default=HYPERPARAMETERS,
    metavar="FILE",
    show_default="local_test/test_dir/input/config/hyperparameters.json",
    help="JSON file of the hyperparameters that all jobs share; the default belongs to the toy data.",
)
@click.option("--parent", "parents", multiple=True, metavar="JOB", help="Start from this tuning job; up to five times.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="NAME.json",
    help="Where --wait saves the best hyperparameters.",
)
@wait_option("job ends")
@setup_options
def main(
    setup: Setup,
    short_name: str,
    image: str,
    searched: Sequence[str],
    hyperparameters: Path,
    parents: Sequence[str],
    save: Path | None,
    build_arguments: Sequence[str],
    wait: bool,
) -> None:
    """Build and push the training image IMAGE, and start the tuning job SHORTNAME-YYYYmmddHHMMSS.

    PROFILE is a profile of ~/.aws/config. IMAGE is the name of a repository of ECR, or the URI of an image that exists.
    The request is made of the files in ops/config and the search space of textclf tune. With --wait the best
    hyperparameters are saved as a file that train takes.
    """
    if save and not wait:
        raise click.UsageError("--save needs --wait, because the best job is not known before the end")
    name = stamped_name(short_name, datetime.now(UTC), TUNING_JOB)
    definition = config_files.read_part(setup.folder, config_files.TRAINING, setup.values(name))
    check_definition(definition)
    shared = _measured(config_files.read_hyperparameters(hyperparameters), hyperparameters)
    ranges = sagemaker_ranges(_checked_space(searched, shared, hyperparameters))
    warm_start = config_files.read_part(setup.folder, config_files.WARM_START, setup.values(name)) if parents else {}
    call_with = functools.partial(
        tuning_call,
        name,
        definition=definition,
        tuning=config_files.read_part(setup.folder, config_files.TUNING, setup.values(name)),
        ranges=ranges,
        hyperparameters=shared,
        metrics=metric_definitions(),
        tags=config_files.read_tags(setup.folder),
        warm_start=warm_start_config(warm_start, parents) if parents else None,
    )
    uri, plan = planned_image(setup, image, images.TRAINING, build_arguments)
    call = call_with(uri)
    plan.add(*(FOLLOWED.describe(parent) for parent in parents), call)
    if replaced := replaced_names(shared, ranges):
        say(f"searched, not taken from the file of hyperparameters: {', '.join(replaced)}")
    if setup.is_dry:
        plan.show()
        return
    target = save or Path(f"{name}.json")
    if wait:
        check_writable(target)
    cloud = setup.account.open()
    found = [cloud.call(FOLLOWED.describe(parent)) for parent in parents]
    for parent in found:
        check_parent(parent, call)
    call = call_with(ready_image(cloud, image, images.TRAINING, build_arguments))
    for parent in found:
        check_parent_image(parent, call)
    make_all(cloud, [job_step(call, FOLLOWED, name)])
    say(f"tuning job: {name} in {cloud.region}")
    if wait:
        save_best(cloud, wait_for_end(cloud, FOLLOWED, name), target)
    else:
        click.echo(name)


def _measured(shared: Mapping[str, str], path: Path) -> dict[str, str]:
    """The shared hyperparameters with those that the objective needs: with few labels, epochs would not have it.

    Raises:
        ConfigError: if the file has other values for them.
    """
    for name, value in MEASURED.items():
        if shared.get(name, value) != value:
            raise ConfigError(
                f"{path}: {name}: expected {value}, with which every epoch is measured, got {shared[name]}; remove it"
            )
    return {**shared, **MEASURED}


def _checked_space(searched: Sequence[str], shared: Mapping[str, str], path: Path) -> tuple[Range, ...]:
    """The ranges to search.

    Raises:
        ConfigError: if `train` would refuse a job, because the searched and the shared values do not fit.
    """
    optimiser = str(parse_hyperparameters(shared).options.get("optimiser", "adamw"))
    space = search_space(searched) if searched else usual_space(optimiser)
    static = static_hyperparameters(shared, sagemaker_ranges(space))
    try:
        check_space(space, lambda values: parse_hyperparameters({**static, **values}))
    except ConfigError as error:
        raise ConfigError(f"{path}, with the searched options: {error}") from error
    return space


if __name__ == "__main__":
    main()
