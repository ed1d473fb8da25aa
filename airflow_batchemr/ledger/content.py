"""Content of ledger objects, checked when it is read: whoever may write below the state URI may write anything."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from airflow_batchemr.ledger.errors import LedgerCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RECORD = 16 << 20
"""Maximum size of a record in bytes. The largest ones are the intent and result of 1,000,000 indices: 100 arrays with
up to 30 KiB for each request (the maximum of SubmitJob) and 60 kB for each description by AWS, and of 256 EMR steps
with 10,280 characters each (the maximum of EMR)."""
MAX_VALUES = 2_000_000
"""Maximum number of values in a JSON object of the ledger: short ones take 20 times as much memory as bytes."""
_VALUE_SIZE = 16
"""Bytes that each value counts at least towards limits on the total size. In our own records, they have more."""
_MAX_INTEGER = 2**63
"""AWS's integers have up to 64 bits."""
# Numbers with neither are smaller than 10^199, and those that Python reads as infinity are larger than 10^308
_LARGE_NUMBER = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{100}")

Shape = Any
"""What a value must be: a type; ``[shape]`` for a list; ``{name: shape}`` for a mapping, whose other members may be
anything; ``{...: shape}`` for a mapping with any names."""

# Members of AWS's requests and descriptions that this package reads. None of them has to be present
_VARIABLES = [{"name": str, "value": str}]
_CONTAINER = {
    "name": str,
    "image": str,
    "command": [str],
    "args": [str],
    "environment": _VARIABLES,
    "env": _VARIABLES,
    "exitCode": int,
    "reason": str,
    "essential": bool,
    "firelensConfiguration": dict,
    "logStreamName": str,
    "logConfiguration": {"options": {...: str}},
    "containerInstanceArn": str,
    "taskArn": str,
    "resourceRequirements": [{"type": str, "value": str}],
    "resources": {"limits": {...: str}, "requests": {...: str}},
}
_POD = {"podName": str, "nodeName": str, "containers": [_CONTAINER]}
_TASK = {"containerInstanceArn": str, "taskArn": str, "containers": [_CONTAINER]}
_ECS = {"taskProperties": [_TASK]}
_EKS = {"podProperties": _POD}
_ATTEMPT = {**_POD, "container": _CONTAINER, "taskProperties": [_TASK], "initContainers": [_CONTAINER]}
_NODE = {"targetNodes": str, "container": _CONTAINER, "ecsProperties": _ECS, "eksProperties": _EKS}
#: As DescribeJobs and ListJobs describe a job of AWS Batch.
BATCH_JOB: Shape = {
    **_NODE,
    **dict.fromkeys(("jobId", "jobName", "status", "statusReason"), str),
    **dict.fromkeys(("createdAt", "startedAt", "stoppedAt"), int),
    "arrayProperties": {"size": int, "index": int, "statusSummary": {...: int}},
    "attempts": [_ATTEMPT],
    "eksAttempts": [_ATTEMPT],
    "nodeProperties": {"mainNode": int, "numNodes": int, "nodeRangeProperties": [_NODE]},
}
_STATUS = {
    "State": str,
    "StateChangeReason": {"Code": str, "Message": str},
    "FailureDetails": {"Reason": str, "Message": str, "LogFile": str},
    "Timeline": dict.fromkeys(("CreationDateTime", "ReadyDateTime", "StartDateTime", "EndDateTime"), str),
}
#: As EMR describes a cluster or a step, with times as text.
EMR_ENTRY: Shape = {"Id": str, "Name": str, "LogUri": str, "Status": _STATUS}
#: As EMR Serverless and EMR on EKS describe a job run.
_JOB_RUN = dict.fromkeys(("endedAt", "finishedAt"), str)
_OVERRIDES = {
    "containerOverrides": _CONTAINER,
    "ecsPropertiesOverride": {"taskProperties": [{"containers": [_CONTAINER]}]},
    "eksPropertiesOverride": {"podProperties": {"containers": [_CONTAINER], "initContainers": [_CONTAINER]}},
}
#: Arguments of SubmitJob, RunJobFlow, AddJobFlowSteps and StartJobRun.
REQUEST: Shape = {
    **_OVERRIDES,
    "nodeOverrides": {"nodePropertyOverrides": [_OVERRIDES]},
    **dict.fromkeys(("jobName", "jobQueue", "jobDefinition", "ReleaseLabel"), str),
    "arrayProperties": {"size": int},
    "dependsOn": [{"jobId": str}],
    "parameters": {...: str},
    "BootstrapActions": [{"Name": str, "ScriptBootstrapAction": {"Path": str}}],
    "Steps": [{"Name": str}],
}
#: `Intent.details` and `Result.details`. Indices are checked by the records themselves.
DETAILS: Shape = {
    "cluster_id": (str, type(None)),
    "variant": (int, type(None)),
    "size": int,
    "where": str,
    "used_by": [str],
    "steps": {...: {"digest": str}},
    "digests": {...: str},
    "causes": {...: str},
    "jobs": [BATCH_JOB],
    "cluster": EMR_ENTRY,
    "job_run": _JOB_RUN,
}


def weight(body: bytes) -> int:
    """Return the size of an object in bytes, or more if it would take much more memory as parsed JSON."""
    return max(len(body), _VALUE_SIZE * _values(body))


def parse(uri: str, body: bytes) -> Any:
    """Parse the JSON of an object.

    Raises:
        LedgerCorruptError: It is not JSON (as of RFC 8259, up to 200 levels deep), or has too many values.
    """
    if _values(body) > MAX_VALUES:
        raise LedgerCorruptError(uri, f"more than {MAX_VALUES:,} values")
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise LedgerCorruptError(uri, f"no JSON: {error}") from error
    if _LARGE_NUMBER.search(body) and _has_infinity(value):
        raise LedgerCorruptError(uri, "a number is too large")
    return value


def parse_as(uri: str, body: bytes, shape: Shape) -> Any:
    """Parse the JSON of an object that must have a shape.

    Raises:
        LedgerCorruptError: It is not JSON, or has another shape.
    """
    value = parse(uri, body)
    for wrong in wrong_parts(value, shape):
        raise LedgerCorruptError(uri, wrong)
    return value


def wrong_parts(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """Find the values that do not have their shape; the messages name their places."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield _wrong(where, "a mapping")
            return
        for name, part in value.items():
            wanted = shape.get(name, shape.get(...))
            if wanted is not None:
                yield from wrong_parts(part, wanted, f"{where}.{name}" if where else str(name))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield _wrong(where, "a list")
            return
        for number, part in enumerate(value):
            yield from wrong_parts(part, shape[0], f"{where}.{number}")
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        names = [one.__name__ for one in (shape if isinstance(shape, tuple) else (shape,))]
        yield _wrong(where, " or ".join(names))
    elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
        yield _wrong(where, "a smaller number")


def _values(body: bytes) -> int:
    """Return the maximum number of values in JSON."""
    return sum(map(body.count, (b",", b"[", b"{")))


def _has_infinity(value: Any) -> bool:
    """Return whether a JSON value has a number too large for a float, which Python would write as invalid JSON."""
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, list):
        return any(map(_has_infinity, value))
    return isinstance(value, float) and not math.isfinite(value)


def _wrong(where: str, expected: str) -> str:
    return f"{where or 'the whole'}: expected {expected}"
