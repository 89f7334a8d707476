"""The profile and the region of a command, and the session of boto3 for them."""

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ops.cloud.calls import Cloud
from textclf.errors import ConfigError

DEFAULT_REGION = "us-east-1"
DEFAULT_PROFILE = "default"


@dataclass(frozen=True)
class Account:
    """Which profile and region a command uses."""

    profile: str
    region: str = ""

    def open(self) -> Cloud:
        """The cloud with the credentials of the profile.

        Without --region the profile's region counts, else us-east-1. The profile `default` may be missing: then boto3
        looks for credentials in its other places, but not in the profile that AWS_PROFILE names.

        Raises:
            ConfigError: if boto3 is not installed, the profile does not exist or is damaged, or AWS_PROFILE names
                another one that would count.
        """
        _import_boto3()
        with _errors_named(self.profile):
            known = self._known()
            if self.profile not in known and self.profile != DEFAULT_PROFILE:
                raise ConfigError(
                    f"profile {self.profile!r:.60}: expected a profile of ~/.aws/config, found "
                    f"{', '.join(known) or 'none'}; choose one, or make it with aws configure --profile NAME"
                )
            return Cloud(self._session(known))

    def dry_region(self) -> str:
        """The region for --dry-run, which accepts a profile that does not exist.

        Raises:
            ConfigError: if `open` would raise it for another reason than a missing profile.
        """
        _import_boto3()
        with _errors_named(self.profile):
            known = self._known()
            if self.profile not in known and self.profile != DEFAULT_PROFILE:
                return self.region or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
            return str(self._session(known).region_name)

    def _known(self) -> list[str]:
        """The names of all profiles."""
        import botocore.session

        return list(botocore.session.get_session().available_profiles)

    def _session(self, known: Collection[str]) -> Any:
        import boto3

        profile = self.profile if self.profile in known else None
        if profile is None:
            self._check_variables()
        region = self.region or boto3.Session(profile_name=profile).region_name or DEFAULT_REGION
        return boto3.Session(profile_name=profile, region_name=region)

    def _check_variables(self) -> None:
        """Check that boto3 does not use another profile in place of a missing one."""
        for variable in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE"):
            if (other := os.environ.get(variable)) and other != self.profile:
                raise ConfigError(
                    f"{variable}: expected {self.profile}, as the argument PROFILE, found {other!r:.60}; "
                    f"give the same profile twice, or unset the variable"
                )


def _import_boto3() -> None:
    """Check that boto3 is installed.

    Raises:
        ConfigError: if it is not.
    """
    try:
        import boto3  # noqa: F401
    except ImportError:
        raise ConfigError("expected the package boto3, which is missing; install it: pip install '.[aws]'") from None


@contextlib.contextmanager
def _errors_named(profile: str) -> Iterator[None]:
    """Turn an error of boto3 about its configuration files inside the block into a ConfigError.

    Raises:
        ConfigError: if boto3 raises an error.
    """
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        raise ConfigError(f"profile {profile!r:.60}: {error}; correct the configuration of AWS") from error
