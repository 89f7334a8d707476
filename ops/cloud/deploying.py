"""Make and delete models, endpoints and jobs, in several calls of which none is left half done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.cloud.calls import Call, Cloud
from ops.cloud.endpoint_requests import delete_calls
from ops.cloud.errors import CloudError, is_missing, is_refusal
from ops.cloud.names import is_own
from ops.cloud.results import say
from ops.cloud.waiting import ENDPOINT, Followed


@dataclass(frozen=True)
class Sighting:
    """How to find out whether AWS made something although its answer was lost.

    Attributes:
        describe: the call that describes it.
        is_made: whether the response to that call is what was to be made.
    """

    describe: Call
    is_made: Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Step:
    """A call, with the one that undoes it, or with a look at what it starts."""

    call: Call
    undo: Call | None = None
    sighting: Sighting | None = None


def endpoint_step(call: Call, name: str, config: str) -> Step:
    """The call that makes or updates an endpoint, and uses the configuration."""
    return Step(call, sighting=Sighting(ENDPOINT.describe(name), lambda found: config in _configs(found)))


def job_step(call: Call, kind: Followed, name: str) -> Step:
    """The call that starts a job, whose name no other job has."""
    return Step(call, sighting=Sighting(kind.describe(name), lambda _found: True))


def make_all(cloud: Cloud, steps: Sequence[Step]) -> None:
    """Make calls in order; if one fails or is interrupted, undo those before it.

    AWS may have obeyed a call whose answer was lost. Then its object is looked for. If it is there, nothing is
    undone. If that can't be found out, nothing is undone either, and a line names what stays.

    Args:
        cloud: makes the calls.
        steps: the calls, the one that uses the others last.

    Raises:
        ConfigError: if a parameter is not accepted; then no call was made.
        CloudError: if AWS refuses a call.
    """
    for step in steps:
        step.call.check()
    undo: list[Call] = []
    for step in steps:
        try:
            cloud.call(step.call)
            if step.undo:
                undo.append(step.undo)
        except (CloudError, KeyboardInterrupt) as error:
            if not is_refusal(error):
                if step.undo and step.undo not in undo:
                    undo.append(step.undo)
                is_made = _is_made(cloud, step, undo)
                if is_made and isinstance(error, CloudError):
                    return
                if is_made is not False:
                    raise
            delete_all(cloud, undo[::-1])
            raise


def delete_all(cloud: Cloud, calls: Sequence[Call]) -> list[str]:
    """Make calls that delete; one that fails is named, and the others are made all the same.

    Returns:
        a text for each object that stays; an object that does not exist is none.
    """
    stay = []
    for call in calls:
        try:
            cloud.call(call)
        except CloudError as error:
            if not is_missing(error):
                say(f"not deleted: {error}")
                stay.append(_object(call))
    return stay


def delete_own(cloud: Cloud, endpoint: str, config: str, models: Sequence[str]) -> list[str]:
    """Delete the configuration and models that deploy and update made for an endpoint; a line names the others.

    Returns:
        as delete_all.
    """
    calls = delete_calls(
        "", config if is_own(config, endpoint) else "", [one for one in models if is_own(one, endpoint)]
    )
    stay = delete_all(cloud, calls)
    if kept := [one for one in (config, *models) if not is_own(one, endpoint)]:
        say(f"kept, because deploy did not make them for this endpoint: {', '.join(kept)}")
    return stay


def check_deleted(stay: Sequence[str]) -> None:
    """Check the result of delete_all.

    Raises:
        CloudError: if something stays.
    """
    if stay:
        raise CloudError(
            f"expected to delete everything, but AWS still has {', '.join(stay)}; delete it in the console"
        )


def _is_made(cloud: Cloud, step: Step, undo: Sequence[Call]) -> bool | None:
    """Whether AWS started what a call without an answer starts; None if this can't be found out.

    Unless it did not, a line names what stays.
    """
    if step.sighting is None:
        return False
    is_made: bool | None = None
    try:
        is_made = step.sighting.is_made(cloud.call(step.sighting.describe))
    except CloudError as error:
        if is_missing(error):
            is_made = False
    if is_made is not False:
        name = ", ".join(step.sighting.describe.parameters.values())
        state = "AWS did it, although its answer was lost" if is_made else "it is not known whether AWS did it"
        kept = f"; kept: {', '.join(map(_object, undo))}" if undo else ""
        say(f"{step.call.operation} {name}: {state}{kept}")
    return is_made


def _configs(endpoint: Mapping[str, Any]) -> tuple[Any, Any]:
    """The configuration of an endpoint, and the one to which it moves, from the response to DescribeEndpoint."""
    return endpoint["EndpointConfigName"], endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")


def _object(call: Call) -> str:
    """The object that a call deletes, such as "Model reviews-1"."""
    return f"{call.operation.removeprefix('Delete')} {', '.join(call.parameters.values())}"
