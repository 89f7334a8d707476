"""Values for requests to SageMaker, and runs of the commands of ops/ in this process."""

from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

ROLE = "arn:aws:iam::123456789012:role/SageMaker"
IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/textclf@sha256:{'0' * 64}"
MODEL = "s3://models/job/output/model.tar.gz"
PLACEHOLDERS = {"<ROLE>": ROLE, "<BUCKET>": "texts", "<JOB_NAME>": "job-1"}
# Variables of the shell that would reach AWS, or change a request.
FOREIGN = ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "SAGEMAKER_ROLE", "SAGEMAKER_BUCKET")
FILLING = ("--role", ROLE, "--bucket", "texts")


def run(command: click.Command, *arguments: object) -> Result:
    """Run a command; stdout and stderr are apart in the result."""
    return CliRunner().invoke(command, list(map(str, arguments)), prog_name="python -m ops.COMMAND")


def succeed(command: click.Command, *arguments: object) -> str:
    """The stdout of a command that must succeed."""
    result = run(command, *arguments)
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


def fail(command: click.Command, *arguments: object) -> str:
    """The error of a command that must fail: exactly one line."""
    result = run(command, *arguments)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code in (1, 2), result.stdout
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return errors[0]


def hyperparameters_file(folder: Path, content: str = '{"encoder": "minilm-l6", "epochs": "2"}') -> Path:
    """A file of hyperparameters."""
    path = folder / "hyperparameters.json"
    path.write_text(content, encoding="utf-8")
    return path


def without(part: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A copy without some keys."""
    return {key: value for key, value in part.items() if key not in keys}
