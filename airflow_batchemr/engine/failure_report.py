"""The report of a failed job: how many indices failed and why, one log per cause, and how to rerun one index."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.log_lines import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_batchemr.ledger.records import Failure

_CAUSES = {
    "oom": "out of memory",
    "spot": "spot capacity reclaimed",
    "timeout": "timed out",
    "pull": "image could not be pulled",
    "platform": "AWS could not run the container",
    "start": "container could not be started",
    "lost": "AWS no longer knows the job",
    "refused": "not submitted",
    "runnable": "no machine was found for it in time",
    "dependency": "the job that it depends on failed",
}
# What differs between failures of one kind: ids of instances, tasks and jobs, and numbers in AWS's messages
_IDS = re.compile(r"\b(?:i-[0-9a-f]+|(?<!-)[0-9a-f]{8}-[0-9a-f-]{8,}|[0-9a-f]{16,}|\d+)\b")
_INDEX_WIDTH = 160
_LINE_WIDTH = 500
_MAX_GROUPS = 10
#: Characters of a reason that are compared and shown. AWS's have at most some hundred.
_REASON = 2_000


@dataclass(frozen=True)
class FailureGroup:
    """Failures that have the same cause."""

    key: str
    title: str
    indices: IndexSet
    sample: Failure
    """The failure of the lowest index, whose log is shown."""


def group(failures: Iterable[Failure]) -> list[FailureGroup]:
    """Group failures by cause, else by exit code and reason with ids removed; the largest group first."""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        key = f"{failure.cause or _IDS.sub('…', failure.reason[:_REASON])}/{failure.exit_code}"
        groups.setdefault(key, []).append(failure)
    found = []
    for key, members in groups.items():
        sample = min(members, key=lambda failure: -1 if failure.index is None else failure.index)
        indices = IndexSet.of(failure.index for failure in members if failure.index is not None)
        found.append(FailureGroup(key, _title(sample), indices, sample))
    return sorted(found, key=lambda one: (-len(one.indices), one.key))


def report(
    failures: Iterable[Failure],
    *,
    size: int,
    done: int,
    failed: IndexSet | None = None,
    logs: Mapping[str, Sequence[str]] | None = None,
    links: Mapping[str, str] | None = None,
    replay: Sequence[str] = (),
) -> str:
    """Format the report of a failed job.

    Args:
        failures: one per failed index, or for some of them; `index` None for the whole job.
        size: how many indices the job has; for 1 the report does not mention indices.
        done: how many of them have succeeded, now or in an earlier try.
        failed: all that failed, if `failures` does not list each of them.
        logs: last lines of the sample's log, by `FailureGroup.key` (see `group`).
        links: URL of the sample's log, by `FailureGroup.key`.
        replay: the command that runs an index again, without ``--index``: ``["batchemr", "replay", …]``.

    Returns:
        Several lines of plain text, safe to display.
    """
    groups = group(failures)
    listed = IndexSet.union(one.indices for one in groups)
    rest = failed - listed if failed else IndexSet()
    lines = ["the job failed"]
    if size > 1:
        finished = f"; {done:,} {'is' if done == 1 else 'are'} done and will not run again" if done else ""
        lines = [f"{len(listed | rest):,} of {size:,} indices failed{finished}"]
    for one in groups[:_MAX_GROUPS]:
        lines += ["", f"{_number(one.indices)}: {one.title}" if size > 1 and one.indices else one.title]
        if len(one.indices) > 1:
            lines.append(f"  indices {shortened(one.indices)}")
        which = "" if size == 1 or one.sample.index is None else f" of index {one.sample.index}"
        if tail := (logs or {}).get(one.key):
            lines.append(f"  last lines of the log{which}:")
            lines += [f"    | {_one_line(line.rstrip())[:_LINE_WIDTH]}" for line in tail]
        if link := (links or {}).get(one.key):
            lines.append(f"  log{which}: {link}")
        if replay and one.sample.index is not None:
            lines.append(f"  run it again alone: {shlex.join([*replay, '--index', str(one.sample.index)])}")
    if len(groups) > _MAX_GROUPS:
        lines += ["", f"and {len(groups) - _MAX_GROUPS} more kinds of failure: see the ledger"]
    if rest:
        lines += ["", f"and {_number(rest)} more, whose causes are in the ledger: {shortened(rest)}"]
    return clean("\n".join(lines))


def shortened(indices: IndexSet) -> str:
    """Format the ranges of a set in about 160 characters, and how many indices were left out."""
    shown: list[str] = []
    length = listed = 0
    for first, last in indices.ranges():
        text = str(first) if first == last else f"{first}-{last}"
        length += len(text) + 2
        if shown and length > _INDEX_WIDTH:
            return f"{', '.join(shown)}, … ({len(indices) - listed:,} more)"
        shown.append(text)
        listed += last - first + 1
    return ", ".join(shown)


def _number(indices: IndexSet) -> str:
    return f"index {indices.lowest}" if len(indices) == 1 else f"{len(indices):,} indices"


def _title(failure: Failure) -> str:
    # The other causes, `exit N` and `other`, add nothing to exit code and reason
    parts = [_CAUSES[failure.cause]] if failure.cause in _CAUSES else []
    if failure.exit_code is not None:
        parts.append(f"exit code {failure.exit_code}")
    if failure.reason:
        parts.append(_one_line(cut(failure.reason, _REASON)))
    return " · ".join(parts) or "no reason given"


def _one_line(text: str) -> str:
    return clean(text).replace("\n", "\\n")
