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

#: AWS: total bytes of the container overrides of a SubmitJob.
MAX_OVERRIDES = 8192
#: AWS: tags on a job; five identify the run.
MAX_TAGS = 50


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Check the total size of the container overrides of a SubmitJob: at most 8 KiB.

    Raises:
        InvalidRequest: they are larger; the message names the largest parts.
    """
    size = len(json.dumps(overrides, ensure_ascii=False, separators=(",", ":")).encode())
    if size <= MAX_OVERRIDES:
        return
    command = sum(len(part.encode()) for part in overrides.get("command", ()))
    largest = sorted(
        ((len(str(one["value"]).encode()), one["name"]) for one in overrides.get("environment", ())), reverse=True
    )[:3]
    raise InvalidRequest(
        f"env and command: AWS Batch accepts at most {MAX_OVERRIDES:,} bytes of container overrides, got {size:,} "
        f"(command {command:,}; the largest variables: {', '.join(f'{name} {length:,}' for length, name in largest)}). "
        "Store large values in S3 and pass their URI"
    )


def check_size(size: int) -> None:
    """Check the number of indices that results from data.

    Raises:
        InvalidRequest: it is not 1 to 1,000,000.
    """
    if not 1 <= size <= MAX_INDICES:
        raise InvalidRequest(f"array: a job has 1 to {MAX_INDICES:,} indices, not {size:,}")


def check_same_size(state: LedgerState, size: int) -> None:
    """Check that the array size is the one that the run began with.

    Raises:
        InvalidRequest: it began with another size, and something is done or runs.
    """
    began = original_size(state)
    if began is not None and began != size:
        raise InvalidRequest(
            f"array: this run began with {began:,} {'index' if began == 1 else 'indices'}, of which "
            f"{len(state.done):,} {'is' if len(state.done) == 1 else 'are'} done; now the job has {size:,}. The same "
            f"index may do other work in an array of {size:,}, so nothing more is submitted. Set the size to {began:,} "
            "to finish the run; or name the job in the `rerun` param of a run of this date to run all of it again with "
            f"{size:,}"
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Check the number of tags and their lengths.

    Raises:
        InvalidRequest: names the tag.
    """
    if len(tags) > MAX_TAGS:
        raise InvalidRequest(f"tags: AWS accepts {MAX_TAGS} tags, five of which identify the run; got {len(tags)}")
    for name, value in tags.items():
        if not 1 <= len(name) <= 128 or name.lower().startswith("aws:"):
            raise InvalidRequest(f"tags: {name!r}: a name has 1 to 128 characters and does not begin with aws:")
        if len(str(value)) > 256:
            raise InvalidRequest(f"tags: {name}: a value has at most 256 characters, this one {len(str(value))}")
