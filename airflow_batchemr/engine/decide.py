"""What a try does next, out of what stands in the ledger: pure decisions, no call to AWS."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from airflow_batchemr.ledger.records import Failure, Result
    from airflow_batchemr.ledger.state import LedgerState, Submission

OUT_OF_MEMORY = "oom"
"""`Failure.cause` of what died of memory: it runs again with the next memory size."""


@dataclass(frozen=True)
class SubmissionPlan:
    """One attempt to claim."""

    number: int
    indices: IndexSet
    memory_step: int = 0
    """Which of the job's memory sizes these indices run with."""


@dataclass(frozen=True)
class Decision:
    """What to do next: claim these attempts; wait for these; mark the job; or fail with these failures."""

    action: Literal["claim", "wait", "mark", "fail"]
    claims: list[SubmissionPlan] = field(default_factory=list)
    waits: list[Submission] = field(default_factory=list)
    failed: IndexSet = field(default_factory=IndexSet)
    failures: list[Failure] = field(default_factory=list)


def closed(state: LedgerState) -> frozenset[int]:
    """Give the numbers of the attempts that have ended: at the start of a try, those that `decide` is to forgive."""
    return frozenset(submission.number for submission in state.submissions if not submission.open)


def begun_with(state: LedgerState) -> int | None:
    """Give how many indices the job had when what is done of it, or runs, was submitted.

    None: nothing of it is done or runs, or that was not recorded.
    """
    sizes = (one.size for one in state.current if one.open or one.succeeded)
    return next((size for size in sizes if size is not None), None)


def decide(
    state: LedgerState,
    size: int,
    *,
    before: Collection[int] = (),
    memory_sizes: int = 1,
    resumable: bool = True,
) -> Decision:
    """Decide what a try does next.

    Each try runs each index that is left once to its end. An index that was stopped or whose attempt never reached AWS
    is claimed again in the same try; one that died of memory is, too, while there is a larger size.

    Args:
        state: the ledger as it stands.
        size: how many indices the job has.
        before: numbers of the attempts that had ended when this try began (`closed`): their failures are forgiven.
        memory_sizes: how many memory sizes the job has.
        resumable: False for a job without the preamble: what is left is then the whole array or nothing.

    Returns:
        `claim` while anything is neither done, nor in hand, nor failed in this try (even with attempts still open);
        `wait` while attempts are open; `mark` when all is done; else `fail`.
    """
    everything = IndexSet.range(size)
    done = state.done & everything
    if state.marker is not None:
        return Decision("mark")
    if done == everything:
        # An open attempt may still run what another one has finished: it is waited for all the same
        return Decision("wait", waits=state.open_submissions) if state.open_submissions else Decision("mark")
    results = [(submission.number, submission.result) for submission in state.current if submission.result is not None]
    steps = _memory_steps(result for _, result in results)
    failed = IndexSet()
    failures: dict[int | None, Failure] = {}
    for number, result in results:
        if number in before:
            continue
        failed |= failed_indices(result)
        failures |= {failure.index: failure for failure in result.failures}
    failed -= done
    failed -= _larger_memory_helps([result for _, result in results], failed, steps, memory_sizes)
    left = everything - done - failed - state.running
    if left and not resumable:
        left = IndexSet() if failed or state.open_submissions else everything
    if left:
        if not resumable:  # a part of it would see wrong indices: all of it runs with the most memory that any needs
            steps = Counter(dict.fromkeys(left, max(steps.values(), default=0)))
        return Decision("claim", claims=_claims(left, steps, state.next_number, memory_sizes))
    if state.open_submissions:
        return Decision("wait", waits=state.open_submissions)
    told = [failure for index, failure in failures.items() if index is None or index in failed]
    return Decision("fail", failed=failed, failures=told)


def failed_indices(result: Result) -> IndexSet:
    """Give what a result says has failed by itself: of a stopped attempt, only what has a cause of its own."""
    named = IndexSet()
    for indices in result.causes.values():
        named |= indices
    if result.outcome == "abandoned":
        return IndexSet()
    if result.outcome == "stopped":
        return named - result.succeeded
    return (named | result.indices) - result.succeeded


def _memory_steps(results: Iterable[Result]) -> Counter[int]:
    """Count how often each index died of memory: that is the size that it runs with next."""
    return Counter(index for result in results for index in result.causes.get(OUT_OF_MEMORY, ()))


def _larger_memory_helps(results: Sequence[Result], failed: IndexSet, steps: Counter[int], sizes: int) -> IndexSet:
    last = IndexSet()
    for result in results:
        for cause, indices in result.causes.items():
            last = last | indices if cause == OUT_OF_MEMORY else last - indices
    return IndexSet.of(index for index, step in steps.items() if step < sizes) & failed & last


def _claims(left: IndexSet, steps: Counter[int], number: int, sizes: int) -> list[SubmissionPlan]:
    """Group by memory size: each needs an attempt of its own."""
    grown: dict[int, list[int]] = {}
    for index, step in steps.items():
        if index in left:
            grown.setdefault(min(step, sizes - 1), []).append(index)
    groups = {step: IndexSet.of(indices) for step, indices in grown.items() if step > 0}
    first = left
    for indices in groups.values():
        first -= indices
    if first:
        groups[0] = first
    return [SubmissionPlan(number + place, groups[step], step) for place, step in enumerate(sorted(groups))]
