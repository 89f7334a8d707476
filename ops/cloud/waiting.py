"""Follow a job or an endpoint until it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ops.cloud.calls import Call
from ops.cloud.errors import JobFailedError

POLL_SECONDS = 30


@dataclass(frozen=True)
class Followed:
    """A kind of job: how its state is read.

    Attributes:
        noun: word for messages.
        operation: the call that describes it.
        name: key of its name, in the call.
        status: key of its status, in the response.
        detail: key of a finer status; "" without one.
        good: statuses of success.
        bad: other statuses in which it stays.
    """

    noun: str
    operation: str
    name: str
    status: str
    detail: str
    good: frozenset[str]
    bad: frozenset[str]

    def describe(self, name: str) -> Call:
        """The call that describes the job `name`."""
        return Call("sagemaker", self.operation, {self.name: name})


_COMPLETED = frozenset(("Completed",))
_ENDED = frozenset(("Failed", "Stopped"))
TRAINING_JOB = Followed(
    "training job",
    "DescribeTrainingJob",
    "TrainingJobName",
    "TrainingJobStatus",
    "SecondaryStatus",
    _COMPLETED,
    _ENDED,
)
TUNING_JOB = Followed(
    "tuning job",
    "DescribeHyperParameterTuningJob",
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobStatus",
    "",
    _COMPLETED | {"Stopped"},  # A search that was stopped has a best job, too.
    frozenset(("Failed", "DeleteFailed")),
)
TRANSFORM_JOB = Followed(
    "transform job", "DescribeTransformJob", "TransformJobName", "TransformJobStatus", "", _COMPLETED, _ENDED
)
ENDPOINT = Followed(
    "endpoint",
    "DescribeEndpoint",
    "EndpointName",
    "EndpointStatus",
    "",
    frozenset(("InService",)),
    frozenset(("Failed", "OutOfService", "UpdateRollbackFailed")),
)


def follow(
    kind: Followed,
    name: str,
    call: Callable[[Call], dict[str, Any]],
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> dict[str, Any]:
    """Wait until the job has ended; return its last description.

    Args:
        kind: kind of the job.
        name: its name.
        call: makes a call.
        say: takes a line for each change of the status.
        sleep: waits for a number of seconds.

    Raises:
        JobFailedError: if the job failed or was stopped; the message contains AWS's reason.
    """
    shown = ""
    while True:
        found = call(kind.describe(name))
        status = str(found[kind.status])
        detail = found.get(kind.detail, "") if kind.detail else ""
        line = f"{kind.noun} {name}: {status}" + (f" ({detail})" if detail and detail != status else "")
        if line != shown:
            say(line)
            shown = line
        if status in kind.good:
            return found
        if status in kind.bad:
            reason = " ".join(str(found.get("FailureReason", "")).split())
            good = " or ".join(sorted(kind.good))
            raise JobFailedError(
                f"{kind.noun} {name}: expected {good}, found {line.partition(': ')[2]}: {reason or 'no reason given'}"
            )
        sleep(POLL_SECONDS)
