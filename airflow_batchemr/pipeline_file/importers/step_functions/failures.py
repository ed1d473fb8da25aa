"""Translate Retry to Airflow's retries, and Catch to trigger rules where possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.members import Members
from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    Unknown,
    UntranslatableError,
    overlay,
    path_steps,
)
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Path, duration

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.machine import Machine, Upstream, Visit

#: Error names that match any failure of a task.
_ANY = {"States.ALL", "States.TaskFailed"}
_TERMINATE = ":elasticmapreduce:terminateCluster"
#: Limits of `retries` and `retry_backoff` in a pipeline file.
_MAX_RETRIES, _MAX_FACTOR = 100, 10


def retries(state: Members, place: ImportPosition) -> dict[str, Any]:
    """Translate Retry and TimeoutSeconds to a job's retries, delays and deadline.

    Raises:
        UntranslatableError: if a value is only known at run time.
    """
    result = retry(state, place)
    if "TimeoutSecondsPath" in state:
        raise UntranslatableError("TimeoutSecondsPath is only known at run time, but the deadline must be constant")
    if "TimeoutSeconds" in state:
        seconds = _seconds(state, "TimeoutSeconds")
        tries = result.get("retries", 0) + 1
        result["deadline"] = duration(seconds * tries)
        if tries > 1:
            place.at("deadline", source=["TimeoutSeconds"]).note(
                f"each of {tries} attempts was limited to {duration(seconds)}; the deadline covers all of them"
            )
    heartbeat(state, place)
    return result


def heartbeat(state: Members, place: ImportPosition) -> None:
    """Omit HeartbeatSeconds."""
    for name in ("HeartbeatSeconds", "HeartbeatSecondsPath"):
        if name in state:
            state.skip(name)
            place.at(source=[name]).note(f"{name} is omitted: jobs do not send heartbeats")


def retry(state: Members, place: ImportPosition) -> dict[str, Any]:
    """Translate Retry to a job's retries and delays.

    Raises:
        UntranslatableError: if a value is only known at run time.
    """
    rules = state.items("Retry")
    matches = [_matches_any(rule) for rule in rules]
    if not rules:
        return {}
    chosen = matches.index(True) if True in matches else 0
    result = _retry(rules[chosen], place)
    if not matches[chosen] or len(rules) > 1:
        place.at("retries", source=["Retry"]).note(
            "Step Functions retried only some errors, or each error differently; Airflow retries any failure"
        )
        for rule in rules[:chosen] + rules[chosen + 1 :]:
            rule.whole()
    return result


def _matches_any(rule: Members) -> bool:
    return any(str(name) in _ANY for name in rule.constant("ErrorEquals", list, []))


def _seconds(given: Members, name: str, default: int = 0) -> int:
    seconds: int = given.constant(name, int, default)
    if not 0 <= seconds <= 99_999_999:  # the limit of Amazon States Language
        raise UntranslatableError(f"{given.path(name)} must be 0 to 99,999,999 seconds, not {seconds}")
    return seconds


def _retry(rule: Members, place: ImportPosition) -> dict[str, Any]:
    rule.skip("Comment")
    tries = rule.constant("MaxAttempts", int, 3)
    delay, longest = _seconds(rule, "IntervalSeconds", 1), _seconds(rule, "MaxDelaySeconds")
    factor = rule.constant("BackoffRate", (int, float), 2.0)
    jitter = rule.constant("JitterStrategy", str, "NONE")
    if tries < 0:
        raise UntranslatableError(f"{rule.path('MaxAttempts')} must be at least 0, not {tries}")
    result: dict[str, Any] = {"retries": min(tries, _MAX_RETRIES)}
    if not tries:
        return result
    result["retry_delay"] = duration(delay)
    kept = min(max(factor, 1), _MAX_FACTOR)
    if kept != 1:
        result["retry_backoff"] = int(kept) if kept == int(kept) else kept
        if jitter != "FULL":
            place.at("retry_backoff", source=["Retry"]).note(
                "Airflow adds random jitter of up to the same length to each delay"
            )
    if kept != factor or tries > _MAX_RETRIES:
        place.at("retries", source=["Retry"]).note(
            f"was {tries} retries with a factor of {factor:g}; limited to {_MAX_RETRIES} retries and a factor of 1 to "
            f"{_MAX_FACTOR}"
        )
    if longest:
        result["max_retry_delay"] = duration(longest)
    return result


class Handlers:
    """Translates the Catch handlers of a state machine.

    Args:
        machine: the state machine.
        states: the states of the machine or branch.
        at: their path in the file.
    """

    def __init__(self, machine: Machine, states: dict[str, Any], at: Path) -> None:
        self.machine = machine
        self.states = states
        self.at = at
        self.open: list[tuple[str, str, Path, Any]] = []

    def after(self, visit: Visit, ends: Upstream, *, of_jobs: bool = True) -> Upstream:
        """The dependencies of the next state, taking into account this state's Catch.

        Args:
            visit: the state.
            ends: the jobs that the next state depends on.
            of_jobs: whether the state consists of these jobs, so that their failure is that of the state.
        """
        after = ends
        following = None if visit.state.get("End") else visit.state.get("Next")
        for number, rule in enumerate(visit.state.items("Catch")):
            where = (*visit.source, "Catch", number)
            rule.skip("Comment")
            target = rule.constant("Next", str)
            data = visit.input
            if (path := rule.get("ResultPath", "$")) is not None:
                error = Unknown(f"the error of {visit.name} is not available to other jobs")
                data = overlay(data, path_steps(str(path)), error)
            if not _matches_any(rule):
                self._note(visit, ends, where, "Catch handled only some errors, and now handles any failure")
            end = self._end(target)
            if end == "fails":
                continue  # a failed job fails the run, and its cluster is terminated anyway
            ignored = target == following or (end == "succeeds" and self._end(following) == "succeeds")
            if of_jobs and ends and ignored:
                after = dict.fromkeys(ends, "finished")
            elif end == "succeeds":
                self._note(
                    visit, ends, where, "after its failure the execution succeeded; the run is now marked failed"
                )
            elif not of_jobs or not ends:
                self.machine.problem(
                    where, f"the Catch of {visit.name} handles the failure of a cluster, and `after` only names jobs"
                )
            elif len(ends) != 1:
                self.machine.problem(
                    where,
                    f"the Catch of {visit.name} covers several jobs, and a pipeline cannot depend on any of them "
                    "failing",
                )
            else:
                self.open.append((next(iter(ends)), target, where, data))
        return after

    def _note(self, visit: Visit, ends: Upstream, source: Path, message: str) -> None:
        at = ("jobs", next(iter(ends))) if ends else ()
        top = self.machine.top
        ImportPosition(top.translation, (*top.path, *at), source).note(f"{visit.name}: {message}")

    def _end(self, name: Any) -> str | None:
        """How the execution ends if no job follows: it `succeeds` or `fails`; None if one does.

        Args:
            name: the next state; None at the end.
        """
        seen: set[str] = set()
        while name is not None and str(name) not in seen:
            seen.add(str(name))
            state = self.states.get(str(name))
            if not isinstance(state, dict):
                return None
            kind = state.get("Type")
            if kind in ("Fail", "Succeed"):
                return "fails" if kind == "Fail" else "succeeds"
            if kind != "Pass" and _TERMINATE not in str(state.get("Resource")):
                return None
            name = None if state.get("End") else state.get("Next")
        return "succeeds" if name is None else None

    def walk_all(self, main: set[str], start: Visit) -> None:
        """Translate the handlers, after the states of the path without failures."""
        walked = set(main)
        for job, name, source, data in self.open:
            visit = replace(start, name=name, upstream={job: "failed"}, data=data)
            succeeds = self._walk(job, source, main, visit, walked)
            if succeeds is not None:
                ImportPosition(self.machine.top.translation, (*self.machine.top.path, "jobs", job), source).note(
                    "the states that handle its failure also run if an upstream job has failed"
                    + ("; the run is then marked failed, whereas the execution succeeded" if succeeds else "")
                )

        for name in (name for name in self.states if name not in walked):
            if self._end(name) is None and not self.machine.top.translation.problems:
                self.machine.problem(
                    (*self.at, name), "this state is not translated: only failures that have no job lead to it"
                )

    def _walk(self, job: str, source: Path, main: set[str], visit: Visit, walked: set[str]) -> bool | None:
        """Translate a handler: whether the execution succeeds after it, None if it cannot be translated."""
        seen: set[str] = set()
        while True:
            state = self.states.get(visit.name)
            if not isinstance(state, dict):
                self.machine.problem(source, f"there is no state {visit.name!r}")
                return None
            if visit.name in main or visit.name in seen:
                self.machine.problem(
                    source,
                    f"the handler of {job} continues with {visit.name}, which other states lead to as well; a pipeline "
                    "cannot depend on whichever of them ran. End the execution in the handler",
                )
                return None
            seen.add(visit.name)
            walked.add(visit.name)
            if state.get("Type") == "Fail":
                return False
            here = replace(visit, state=Members(state), source=(*self.at, visit.name))
            upstream, data = self.machine.handle(here, self)
            if state.get("End") or str(state.get("Type")) in {"Succeed", "Choice"}:
                return True
            visit = replace(visit, name=str(state.get("Next")), upstream=upstream, data=data)
