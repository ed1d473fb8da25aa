"""The `sh` preamble that shows a program the job's own indices, whichever of them AWS runs.

AWS numbers the children of an array from 0, and sets no index in a single job. A resumed attempt of the indices 3, 17
and 42 is an array of 3: the preamble puts 3, 17 or 42 into ``AWS_BATCH_JOB_ARRAY_INDEX``, the size of the whole job
into ``AWS_BATCH_JOB_ARRAY_SIZE``, and becomes the user's program with `exec`. Batch lets nobody set names that begin
with ``AWS_BATCH`` in a request, so it has to be done inside.

The program and its arguments are the shell's own arguments (``"$@"``): nothing of them is ever shell text, and Batch's
``Ref::name`` parameters in them work as always. The set travels in ``BATCHEMR_INDICES``, which the program does not
see, as ranges (``0-9,12``) or as a bitmap in words of 28 bits, lowest first, after the index of its first bit
(``x30,ff07,1``): what is shorter. 10,000 indices at random need 2.9 KB of the 8 KiB that Batch allows for overrides.
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
"""Names in the environment that are the preamble's own."""

# Looks for the n-th index (n: the child's number) in a subshell, so that no variable of the program's environment is
# lost. A word's bits are counted in parallel: 10,000 indices are 358 steps, not 10,000. 28 bits a word, because the
# arithmetic of a small shell may have 32, signed.
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
"""The whole script; a constant, whatever the command and the set."""

# The shell stays, passes signals on, and writes the index's marker when the program has ended well. AWS's own word on
# the job is not changed by a marker that could not be written: it is what counts while AWS remembers. A signal ends
# `wait` early, so the program is waited for again; 127 is then the shell's word for one that was waited for already.
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
for batchemr_pause in 1 4 16 0; do
printf '%s' "${AWS_BATCH_JOB_ID-}" | aws s3 cp --quiet - "$BATCHEMR_DONE_URI$AWS_BATCH_JOB_ARRAY_INDEX" && exit 0
sleep "$batchemr_pause"
done
echo "batchemr: could not write $BATCHEMR_DONE_URI$AWS_BATCH_JOB_ARRAY_INDEX (is aws in the image?)" >&2
exit 0"""
)
"""The script of `markers: in_job`; it needs `aws` in the image, and leave to write under the state URI."""


def wrap(
    command: Sequence[str],
    indices: IndexSet,
    environment: Mapping[str, str],
    *,
    size: int,
    done_uri: str | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Put the preamble around a command.

    Args:
        command: the program and its arguments.
        indices: what this request runs, at most 10,000; child i of it runs the i-th of them.
        environment: the environment that the user asks for; looked through for the preamble's own names.
        size: how many indices the job has as a whole.
        done_uri: with `markers: in_job`, the folder, with a slash at its end, where the job leaves a marker an index.

    Returns:
        The command to give to Batch, and what its environment needs besides `environment`.

    Raises:
        ValueError: an empty command, no indices, or a name in the environment that is taken.
    """
    if not command:
        raise ValueError("command: it is empty; name the program to run")
    if not indices:
        raise ValueError("a request runs at least one index")
    if taken := sorted(RESERVED & set(environment)):
        raise ValueError(f"env: {', '.join(taken)}: names that begin with BATCHEMR_ belong to batchemr, take others")
    extra = {SIZE: str(size)}
    if indices != IndexSet.range(len(indices)):
        extra[INDICES] = encode(indices)
    script = PREAMBLE
    if done_uri is not None:
        extra[DONE] = done_uri
        script = PREAMBLE_IN_JOB
    # AWS sets both by itself where the children are the whole job
    if len(indices) == size > 1:
        del extra[SIZE]
    return ["/bin/sh", "-c", script, "sh", *command], extra


def unwrap(command: Sequence[str]) -> list[str]:
    """Give the program and arguments that a preamble was put around, by this version or another; others as they are."""
    argv = list(command)
    wrapped = argv[:2] == ["/bin/sh", "-c"] and argv[3:4] == ["sh"] and INDICES in argv[2]
    return argv[4:] if wrapped else argv


def encode(indices: IndexSet) -> str:
    """Give the text of a set as the preamble reads it: ranges or words of bits, the shorter."""
    ranges = str(indices)
    bits = f"{indices.bits >> indices.lowest:x}"
    # 7 hex digits a word, from the lowest
    found = (bits[max(end - 7, 0) : end].lstrip("0") or "0" for end in range(len(bits), 0, -7))
    bitmap = ",".join([f"x{indices.lowest}", *found])
    return ranges if len(ranges) <= len(bitmap) else bitmap
