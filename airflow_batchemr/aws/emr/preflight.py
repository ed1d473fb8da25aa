"""Checks of releases and applications before a cluster is started."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from botocore import xform_name

from airflow_batchemr.aws.emr.clusters import emr_call
from airflow_batchemr.aws.errors import InvalidRequest, NotAllowed
from airflow_batchemr.aws.retry import call_optionally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients


def check_release(clients: Clients, release: str, applications: Sequence[str], requires: Mapping[str, str]) -> None:
    """Check that a release, such as emr-7.5.0, has the applications in the required versions: 1 DescribeReleaseLabel.

    `requires` has a version or its prefix by application: `{"spark": "3.5"}`. If it is empty, the check is optional:
    nothing is checked if the call is not allowed, or if AWS does not answer it within 15 seconds.

    Raises:
        InvalidRequest: names what the release lacks.
        AwsError: the call failed, and `requires` needs it.
    """
    try:
        if requires:
            answer = emr_call(clients, "DescribeReleaseLabel", ReleaseLabel=release)
        else:
            answer = _optional(clients, "DescribeReleaseLabel", ReleaseLabel=release)
    except NotAllowed:
        if requires:
            raise
        return
    except InvalidRequest:
        raise InvalidRequest(f"release: EMR has no release {release}{_near_release(clients, release)}") from None
    if answer is not None:
        check_versions(release, answer, applications, requires)


def _optional(clients: Clients, operation: str, **arguments: Any) -> Any:
    call = getattr(clients.optional("emr"), xform_name(operation))
    return call_optionally(lambda: call(**arguments), f"elasticmapreduce:{operation}")


def check_versions(
    where: str, description: Mapping[str, Any], applications: Sequence[str], requires: Mapping[str, str]
) -> None:
    """Check applications and required versions against EMR's description of a release or cluster, named by `where`.

    Raises:
        InvalidRequest: names what is missing.
    """
    versions = {str(one.get("Name", "")): str(one.get("Version", "")) for one in description.get("Applications", [])}
    known = {name.lower(): name for name in versions}
    for name in applications if versions else ():
        if name.lower() not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
            guess = f"; did you mean {known[near[0]]}?" if near else f"; there are {', '.join(sorted(versions))}"
            raise InvalidRequest(f"applications: {where} has no application {name}{guess}")
    for name, wanted in requires.items():
        has = versions.get(known.get(name.lower(), ""))
        if has is None:
            raise InvalidRequest(f"requires: {where} has no {name}")
        # `3.5` matches 3.5, 3.5.2 and 3.5.2-amzn-1, but not 3.51
        if not re.match(rf"{re.escape(wanted)}(?![0-9])", has):
            raise InvalidRequest(f"requires: {where} has {name} {has}, not {wanted}")


def _near_release(clients: Clients, release: str) -> str:
    try:
        prefix = release.rsplit(".", 2)[0] if release.count(".") else release
        found = _optional(clients, "ListReleaseLabels", Filters={"Prefix": prefix}).get("ReleaseLabels", [])
    except Exception:  # noqa: BLE001 - only for a better message
        return ""
    return f"; there are {', '.join(found[:8])}" if found else ""
