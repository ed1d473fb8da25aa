"""How the value of each index (its object, row or shard) reaches the program, independent of the image.

AWS gives all children of an array the same environment. So one variable of a request carries the values as lines
`index value`, and a few lines of `sh`, after the preamble that determines the index, select the program's own. If a job
has too many values for that, the lines are in S3, a thousand per object, and the image needs the `aws` command.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.core.arrays import split
from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Bytes of values in the environment of one request, of AWS's 8,192 for all overrides.
MAX_TEXT = 3_000
#: Bytes of all values of a job up to which requests carry them: each 3,000 need another SubmitJob.
MAX_INLINE = 150_000
#: Lines of one object in S3.
LINES_AN_OBJECT = 1_000

_PICK = """\
batchemr_value=$(
nl='
'
if [ -n "${BATCHEMR_VALUES_URI-}" ]; then
all=$nl$(aws s3 cp --quiet "$BATCHEMR_VALUES_URI$((AWS_BATCH_JOB_ARRAY_INDEX / 1000)).txt" -) || {
echo "batchemr: could not read $BATCHEMR_VALUES_URI (the image needs aws for so many values)" >&2; exit 125; }
else all=$nl$BATCHEMR_VALUES; fi
own=${all#*"$nl$AWS_BATCH_JOB_ARRAY_INDEX "}
[ "$own" = "$all" ] && { echo "batchemr: no value for index $AWS_BATCH_JOB_ARRAY_INDEX" >&2; exit 125; }
printf '%s.' "${own%%"$nl"*}"
) || exit 125
batchemr_value=${batchemr_value%.}
"""
_USES = {
    "per_object": 'export BATCHEMR_INPUT_URI="${BATCHEMR_VALUES_COMMON-}$batchemr_value"\n',
    "rows": 'export BATCHEMR_ROW="$batchemr_value"\n',
    "pack": (
        'export BATCHEMR_SHARD_URI="$BATCHEMR_SHARDS_URI$AWS_BATCH_JOB_ARRAY_INDEX.txt"\n'
        'export BATCHEMR_SHARD_FILES="$batchemr_value"\n'
    ),
}
_REST = 'unset BATCHEMR_VALUES BATCHEMR_VALUES_URI BATCHEMR_VALUES_COMMON BATCHEMR_SHARDS_URI\nexec "$@"'


@dataclass(frozen=True)
class Values:
    """The values of a job's indices."""

    kind: str
    """`pack`, `per_object` or `rows`."""
    lines: Mapping[int, str]
    """Index -> value of the indices to submit; empty if they are read from S3."""
    uri: str | None = None
    """s3:// folder of the objects `0.txt`, `1.txt`, …; None if the requests carry the values."""
    common: str = ""
    """Common prefix of all values, which is not repeated in them."""
    shards: str = ""
    """s3:// folder of the shards' lists (`pack`)."""

    def command(self, command: Sequence[str]) -> list[str]:
        """The command with its own value in the environment; to run after the preamble."""
        return ["/bin/sh", "-c", _PICK + _USES[self.kind] + _REST, "sh", *command]

    def cut(self, indices: IndexSet) -> list[IndexSet]:
        """Cut the indices into one set per SubmitJob, so that array size and values fit; deterministic."""
        if self.uri is not None:
            return split(indices)
        parts: list[IndexSet] = []
        for part in split(indices):
            members: list[int] = []
            size = 0
            for index in part:
                weight = _weight(index, self.lines[index])
                if members and size + weight > MAX_TEXT:
                    parts.append(IndexSet.of(members))
                    members, size = [], 0
                members.append(index)
                size += weight
            parts.append(IndexSet.of(members))
        return parts

    def environment(self, part: IndexSet) -> dict[str, str]:
        """The environment variables of a request for these indices."""
        variables = {
            "BATCHEMR_VALUES_COMMON": self.common,
            "BATCHEMR_VALUES_URI": self.uri or "",
            "BATCHEMR_SHARDS_URI": self.shards,
        }
        if self.uri is None:
            variables["BATCHEMR_VALUES"] = "".join(f"{index} {self.lines[index]}\n" for index in part)
        return {name: value for name, value in variables.items() if value}


def _weight(index: int, value: str) -> int:
    return len(json.dumps(f"{index} {value}\n", ensure_ascii=False).encode()) - 2


def fit_inline(values: Sequence[str]) -> bool:
    """Whether the requests of a job can carry all its values."""
    weights = [_weight(index, value) for index, value in enumerate(values)]
    return max(weights, default=0) <= MAX_TEXT and sum(weights) <= MAX_INLINE
