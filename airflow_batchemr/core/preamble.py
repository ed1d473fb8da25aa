"""The `sh` preamble that maps the children of an AWS Batch array to the indices of the job.

AWS numbers the children of an array from 0 and sets no index for a single job. A resubmission of the indices 3, 17 and
42 is an array of 3. The preamble sets ``AWS_BATCH_JOB_ARRAY_INDEX`` to 3, 17 or 42 and ``AWS_BATCH_JOB_ARRAY_SIZE`` to
the size of the whole job, and replaces itself with the user's program by `exec`. A request cannot set variables that
start with ``AWS_BATCH``, so they have to be set inside the container.

The program and its arguments are passed as arguments of the shell (``"$@"``). They are never parsed as shell code, and
Batch's ``Ref::name`` parameters work in them as usual. The index set is passed in ``BATCHEMR_INDICES``, which is hidden
from the program, in the shorter of two forms: ranges (``0-9,12``), or a bitmap in 28-bit words, lowest first, preceded
by the index of its first bit (``x30,ff07,1``). 10,000 random indices need 2.9 KB of the 8 KiB that Batch allows for
overrides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INDICES = "BATCHEMR_INDICES"
SIZE = "BATCHEMR_ARRAY_SIZE"
DONE = "BATCHEMR_DONE_URI"
RESERVED = frozenset({INDICES, SIZE, DONE})
"""Environment variables reserved for the preamble."""
RUN_VARIABLES = (
    *("PIPELINE_RUN_ID", "BATCHEMR_DAG_ID", "BATCHEMR_RUN_KEY", "BATCHEMR_JOB", "BATCHEMR_SUBMISSION"),
    *("BATCHEMR_STATE", "BATCHEMR_CHILD_PREFIX"),
)
"""Environment variables that describe the run to the program, of every job."""
STEP_VARIABLES = ("PIPELINE_RUN_ID", "BATCHEMR_DAG_ID", "BATCHEMR_RUN_KEY", "BATCHEMR_JOB", "BATCHEMR_STATE")
"""Those of an EMR step. The submission's number is left out, because it would change the steps of each try."""

# Finds the n-th index (n: number of the child) in a subshell, so that no variable of the program's environment is
# overwritten. The bits of a word are counted in parallel: 10,000 indices take 358 steps, not 10,000. Words have 28 bits
# because small shells may use signed 32-bit arithmetic.
_FIND = """\
AWS_BATCH_JOB_ARRAY_INDEX=$(
n=${AWS_BATCH_JOB_ARRAY_INDEX:-0} at=
[ -z "${BATCHEMR_INDICES-}" ] && echo "$n" && exit
set -f; IFS=,
for w in $BATCHEMR_INDICES; do
case $w in
(x*) at=${w#x}; continue;;
(*-*) first=${w%-*}; count=$((${w#*-} - first + 1));;
(*) if [ -n "$at" ]; then
v=$((0x$w))
count=$((v - (v >> 1 & 0x5555555))); count=$(((count & 0x3333333) + (count >> 2 & 0x3333333)))
count=$((count + (count >> 4) & 0xf0f0f0f)); count=$((count + (count >> 8))); count=$((count + (count >> 16) & 0x1f))
if [ "$n" -lt "$count" ]; then
while [ $((v & 1)) = 0 ] || [ "$n" -gt 0 ]; do n=$((n - (v & 1))); v=$((v >> 1)); at=$((at + 1)); done
echo "$at"; exit; fi
at=$((at + 28))
else first=$w; count=1; fi;;
esac
[ "$n" -lt "$count" ] && [ -z "$at" ] && echo $((first + n)) && exit
n=$((n - count))
done
echo "batchemr: child ${AWS_BATCH_JOB_ARRAY_INDEX:-0} has no index in BATCHEMR_INDICES=$BATCHEMR_INDICES" >&2; exit 125
) || exit 125
export AWS_BATCH_JOB_ARRAY_INDEX
[ -n "${BATCHEMR_ARRAY_SIZE-}" ] && export AWS_BATCH_JOB_ARRAY_SIZE="$BATCHEMR_ARRAY_SIZE"
unset BATCHEMR_INDICES BATCHEMR_ARRAY_SIZE
"""

PREAMBLE = _FIND + 'exec "$@"'
"""The complete script. It is constant, whatever the command and the index set."""

# The shell keeps running, forwards signals, and writes the marker of the index when the program has succeeded. Failing
# to write the marker does not change the exit code, because the job status in AWS takes precedence while it is
# available. A signal interrupts `wait`, so it is repeated; it then returns 127 if the program was reaped already.
# `aws s3api put-object` takes every argument of `[batchemr] s3_put_args`; `aws s3 cp` has no option for most of them.
# The marker has no content, because the body would have to be a file; only its existence counts.
PREAMBLE_IN_JOB = (
    _FIND
    + """\
trap 'batchemr_signal=1; kill -TERM "$batchemr_child"' TERM INT HUP
"$@" <&0 &
batchemr_child=$! batchemr_status= batchemr_signal=1
while [ -n "$batchemr_signal" ]; do
batchemr_signal=; wait "$batchemr_child"; set -- $?
[ "$1" = 127 ] && [ -n "$batchemr_status" ] || batchemr_status=$1
done
[ "$batchemr_status" = 0 ] || exit "$batchemr_status"
[ -n "${BATCHEMR_S3_PUT_ARGS-}" ] || BATCHEMR_S3_PUT_ARGS='{}'
batchemr_place=${BATCHEMR_DONE_URI#s3://}$AWS_BATCH_JOB_ARRAY_INDEX
for batchemr_pause in 1 4 16 0; do
aws s3api put-object --cli-input-json "$BATCHEMR_S3_PUT_ARGS" --bucket "${batchemr_place%%/*}" \
--key "${batchemr_place#*/}" --metadata "job=${AWS_BATCH_JOB_ID:-unknown}" > /dev/null && exit 0
sleep "$batchemr_pause"
done
echo "batchemr: could not write $BATCHEMR_DONE_URI$AWS_BATCH_JOB_ARRAY_INDEX (is aws in the image?)" >&2
exit 0"""
)
"""The script for `markers: in_job`. The image needs the AWS CLI, and the job needs write access to its own folder."""


def wrap(
    command: Sequence[str],
    indices: IndexSet,
    environment: Mapping[str, str],
    *,
    size: int,
    done_uri: str | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Wrap a command in the preamble.

    Args:
        command: Program and arguments.
        indices: Indices of this request, at most 10,000. Child i runs the i-th of them.
        environment: The user's environment, checked for reserved names.
        size: Number of indices of the whole job.
        done_uri: For `markers: in_job`, the folder (with a trailing slash) where the job writes one marker per index.

    Returns:
        The command for Batch, and the variables to add to `environment`.

    Raises:
        ValueError: The command is empty, there are no indices, or `environment` contains a reserved name.
    """
    if not command:
        raise ValueError("command: it is empty; name the program to run")
    if not indices:
        raise ValueError("a request must contain at least one index")
    if taken := sorted(RESERVED & set(environment)):
        raise ValueError(f"env: {', '.join(taken)}: names that start with BATCHEMR_ are reserved; rename them")
    extra = {SIZE: str(size)}
    if indices != IndexSet.range(len(indices)):
        extra[INDICES] = encode(indices)
    script = PREAMBLE
    if done_uri is not None:
        extra[DONE] = done_uri
        script = PREAMBLE_IN_JOB
    # AWS sets index and size itself if the array is the whole job
    if len(indices) == size > 1:
        del extra[SIZE]
    return ["/bin/sh", "-c", script, "sh", *command], extra


def unwrap(command: Sequence[str]) -> list[str]:
    """Remove the preamble, of this or another version, from a command. Other commands are returned unchanged."""
    arguments = list(command)
    wrapped = arguments[:2] == ["/bin/sh", "-c"] and arguments[3:4] == ["sh"] and INDICES in arguments[2]
    return arguments[4:] if wrapped else arguments


def encode(indices: IndexSet) -> str:
    """Encode a set for the preamble: as ranges or as a bitmap, whichever is shorter."""
    ranges = str(indices)
    bits = f"{indices.bits >> indices.lowest:x}"
    # 7 hexadecimal digits per word, lowest first
    digits = (bits[max(end - 7, 0) : end].lstrip("0") or "0" for end in range(len(bits), 0, -7))
    bitmap = ",".join([f"x{indices.lowest}", *digits])
    return ranges if len(ranges) <= len(bitmap) else bitmap
