"""AWS Batch's limits that can be checked before the call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.core.indices import MAX_INDICES
from airflow_batchemr.engine.decide import original_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.ledger import LedgerState

#: Bytes of container overrides in a SubmitJob, all together.
MAX_OVERRIDES = 8192
#: Tags that AWS takes on a job; five are the run's identity.
MAX_TAGS = 50


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """The 8 KiB that a submit may override.

    Raises:
        InvalidRequest: says how much is too much, and which part is the largest.
    """
    size = len(json.dumps(overrides, ensure_ascii=False, separators=(",", ":")).encode())
    if size <= MAX_OVERRIDES:
        return
    command = sum(len(part.encode()) for part in overrides.get("command", ()))
    largest = sorted(
        ((len(str(one["value"]).encode()), one["name"]) for one in overrides.get("environment", ())), reverse=True
    )[:3]
    raise InvalidRequest(
        f"env and command: AWS Batch takes container overrides of {MAX_OVERRIDES:,} bytes in all, these have {size:,} "
        f"(command {command:,}; the largest variables: {', '.join(f'{name} {length:,}' for length, name in largest)}). "
        "Put large values into S3 and pass their URI"
    )


def check_size(size: int) -> None:
    """Check the number of indices that data comes to.

    Raises:
        InvalidRequest: it is not 1 to 1,000,000.
    """
    if not 1 <= size <= MAX_INDICES:
        raise InvalidRequest(f"array: a job has 1 to {MAX_INDICES:,} indices, not {size:,}")


def check_same_size(state: LedgerState, size: int) -> None:
    """What is left of a run fits what is done of it: it began with as many indices.

    Raises:
        InvalidRequest: it began with another number, and something is done or runs.
    """
    began = original_size(state)
    if began is not None and began != size:
        raise InvalidRequest(
            f"array: this run began with {began:,} {'index' if began == 1 else 'indices'}, of which "
            f"{len(state.done):,} {'is' if len(state.done) == 1 else 'are'} done; now the job has {size:,}. An index "
            f"of {size:,} need not do what it did of {began:,}, so nothing more is submitted. Give it {began:,} again "
            "to do the rest; or name the job in the `rerun` param of a run of this date, to do all of it again with "
            f"{size:,}"
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Number of tags and their lengths.

    Raises:
        InvalidRequest: names the tag.
    """
    if len(tags) > MAX_TAGS:
        raise InvalidRequest(f"tags: AWS takes {MAX_TAGS} of them, five of which say which run it is; got {len(tags)}")
    for name, value in tags.items():
        if not 1 <= len(name) <= 128 or name.lower().startswith("aws:"):
            raise InvalidRequest(f"tags: {name!r}: a name has 1 to 128 characters and does not begin with aws:")
        if len(str(value)) > 256:
            raise InvalidRequest(f"tags: {name}: a value has at most 256 characters, this one {len(str(value))}")
