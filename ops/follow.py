"""Wait for a job or an endpoint that was started without --wait: `python -m ops.follow KIND NAME PROFILE`."""

from pathlib import Path

import click

from ops.cloud.calls import Plan
from ops.cloud.options import Setup, setup_options
from ops.cloud.results import print_model, save_best, wait_for_end
from ops.cloud.waiting import ENDPOINT, TRAINING_JOB, TRANSFORM_JOB, TUNING_JOB
from textclf.cli.commands import Command
from textclf.files import check_writable

_KINDS = {"training": TRAINING_JOB, "tuning": TUNING_JOB, "transform": TRANSFORM_JOB, "endpoint": ENDPOINT}


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("name")
@click.argument("profile")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="NAME.json",
    help="Where the best hyperparameters of a tuning job are saved.",
)
@setup_options
def main(setup: Setup, kind: str, name: str, save: Path | None) -> None:
    """Wait until a job has ended, and print its result; exit with 1 and AWS's reason if it failed."""
    followed = _KINDS[kind]
    if save and followed is not TUNING_JOB:
        raise click.UsageError(f"--save is for the kind tuning, got the kind {kind}; leave it out")
    call = followed.describe(name)
    call.check()
    if setup.is_dry:
        Plan([call]).show()
        return
    target = save or Path(f"{name}.json")
    if followed is TUNING_JOB:
        check_writable(target)
    cloud = setup.account.open()
    found = wait_for_end(cloud, followed, name)
    if followed is TRAINING_JOB:
        print_model(found)
    elif followed is TUNING_JOB:
        save_best(cloud, found, target)
    else:
        click.echo(name)


if __name__ == "__main__":
    main()
