"""The AWS credentials of a program that `batchemr replay` runs on this machine: the user's, a role's, or none."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import AwsError
from airflow_batchemr.aws.retry import INTERACTIVE, call_again

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.clients import Clients

#: Seconds for which the credentials of a role are valid. Each role allows this duration.
ROLE_DURATION = 3_600
#: Where a program would find credentials other than those that it is given.
_NOWHERE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
#: Variables with credentials, or with places of credentials.
_CREDENTIALS = ("AWS_", "AIRFLOW_CONN_")
#: Variables with the prefix that Batch sets.
_OF_BATCH = "AWS_BATCH_"
#: Variables that name an endpoint or a region. A program with the credentials of a role gets those of the user.
_ENDPOINTS = re.compile(r"AWS_ENDPOINT_URL\w*|AWS_REGION|AWS_DEFAULT_REGION|AWS_CA_BUNDLE")


@dataclass(frozen=True)
class Access:
    """How a program gets credentials.

    Attributes:
        profile: `--profile`.
        region: `--region`.
        role: ARN of the role whose credentials it gets, instead of the user's.
        none: Whether it gets no credentials.
    """

    profile: str | None = None
    region: str | None = None
    role: str | None = None
    none: bool = False

    @property
    def separate(self) -> bool:
        """Whether the user's own credentials are kept from the program."""
        return self.none or self.role is not None

    def describe(self, clients: Clients) -> str:
        """Return whose credentials the program gets. Makes one call, sts:GetCallerIdentity, unless it gets none."""
        if self.none:
            return "none"
        user = identity(clients, self.profile)
        return f"role {self.role}, for {ROLE_DURATION // 60} minutes, assumed by {user}" if self.role else user

    def variables(self, clients: Clients, session_name: str) -> dict[str, str]:
        """Return the variables that replace those of the user, if the user's are kept from the program.

        Raises:
            AwsError: The role cannot be assumed.
        """
        if self.role is None:
            return _NOWHERE
        answer = call_again(
            lambda: clients.get("sts").assume_role(
                RoleArn=self.role, RoleSessionName=session_name, DurationSeconds=ROLE_DURATION
            ),
            "sts:AssumeRole",
        )
        given = answer["Credentials"]
        places = {name: value for name, value in os.environ.items() if _ENDPOINTS.fullmatch(name)}
        return {
            **_NOWHERE,
            **places,
            "AWS_REGION": clients.region,
            "AWS_DEFAULT_REGION": clients.region,
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def own_variables(self) -> dict[str, str]:
        """Return the user's credentials as variables, because a container sees neither profiles nor roles."""
        import boto3

        session: Any = boto3.Session(profile_name=self.profile, region_name=self.region)
        found: dict[str, str | None] = {
            "AWS_DEFAULT_REGION": session.region_name,
            "AWS_ENDPOINT_URL": os.environ.get("AWS_ENDPOINT_URL"),
        }
        credentials = session.get_credentials()
        if credentials is not None:
            frozen = credentials.get_frozen_credentials()
            found |= {
                "AWS_ACCESS_KEY_ID": frozen.access_key,
                "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
                "AWS_SESSION_TOKEN": frozen.token,
            }
        return {name: value for name, value in found.items() if value}


def without_credentials(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the user or of the record without those that may give access to AWS."""
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith(_CREDENTIALS) or name.startswith(_OF_BATCH)
    }


def identity(clients: Clients, profile: str | None) -> str:
    """Return whose credentials boto3 finds, and where."""
    import boto3

    source = f"profile {profile}" if profile else "none found"
    credentials: Any = None if profile else boto3.Session().get_credentials()
    if credentials is not None:
        source = f"found by boto3: {credentials.method}"
    try:
        answer = call_again(
            lambda: clients.with_config(INTERACTIVE).get("sts").get_caller_identity(), "sts:GetCallerIdentity"
        )
    except AwsError as error:
        return f"yours ({source}); whose they are is unknown: {error}"
    return f"yours: {answer.get('Arn')} ({source})"


def session_name(pipeline: str, job: str, index: int) -> str:
    """Return the name of a role's session, which CloudTrail shows."""
    return re.sub(r"[^\w+=,.@-]", "-", f"batchemr-replay-{pipeline}-{job}", flags=re.ASCII)[:53] + f"-{index}"[:11]
