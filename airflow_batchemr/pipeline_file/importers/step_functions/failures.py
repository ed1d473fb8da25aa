"""Translate Retry to Airflow's retries, and Catch to trigger rules where possible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import Given, UntranslatableError, constant
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Path, duration

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.machine import Machine, Upstream, Visit

#: Error names that match any failure of a task.
_ANY = {"States.ALL", "States.TaskFailed"}
_TERMINATE = ":elasticmapreduce:terminateCluster"
#: Limits of `retries` and `retry_backoff` in a pipeline file.
_MAX_RETRIES, _MAX_FACTOR = 100, 10


def retries(state: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    """Translate Retry and TimeoutSeconds to a job's retries, delays and deadline.

    Raises:
        UntranslatableError: if a value is only known at run time.
    """
    result: dict[str, Any] = {}
    rules = state.get("Retry", [])
    chosen = next((rule for rule in rules if _ANY & set(rule.get("ErrorEquals", []))), rules[0] if rules else None)
    if chosen is not None:
        result = _retry(chosen, place)
        if not _ANY & set(chosen.get("ErrorEquals", [])) or len(rules) > 1:
            place.at("retries", source=["Retry"]).note(
                "Step Functions retried only some errors, or each error differently; Airflow retries any failure"
            )
    limit = state.get("TimeoutSeconds")
    if "TimeoutSecondsPath" in state:
        raise UntranslatableError("TimeoutSecondsPath is only known at run time, but the deadline must be constant")
    if limit is not None:
        seconds = constant(limit, int, "TimeoutSeconds")
        tries = result.get("retries", 0) + 1
        result["deadline"] = duration(seconds * tries)
        if tries > 1:
            place.at("deadline", source=["TimeoutSeconds"]).note(
                f"each of {tries} attempts was limited to {duration(seconds)}; the deadline covers all of them"
            )
    if "HeartbeatSeconds" in state:
        place.at(source=["HeartbeatSeconds"]).note("HeartbeatSeconds is omitted: jobs do not send heartbeats")
    return result


def _retry(rule: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    tries = constant(rule.get("MaxAttempts", 3), int, "MaxAttempts")
    result: dict[str, Any] = {"retries": min(tries, _MAX_RETRIES)}
    if not tries:
        return result
    result["retry_delay"] = duration(constant(rule.get("IntervalSeconds", 1), int, "IntervalSeconds"))
    factor = constant(rule.get("BackoffRate", 2.0), (int, float), "BackoffRate")
    kept = min(max(factor, 1), _MAX_FACTOR)
    if kept != 1:
        result["retry_backoff"] = int(kept) if kept == int(kept) else kept
        if rule.get("JitterStrategy") != "FULL":
            place.at("retry_backoff", source=["Retry"]).note(
                "Airflow adds random jitter of up to the same length to each delay"
            )
    if kept != factor or tries > _MAX_RETRIES:
        place.at("retries", source=["Retry"]).note(
            f"was {tries} retries with a factor of {factor:g}; limited to {_MAX_RETRIES} retries and a factor of 1 to "
            f"{_MAX_FACTOR}"
        )
    if "MaxDelaySeconds" in rule:
        result["max_retry_delay"] = duration(constant(rule["MaxDelaySeconds"], int, "MaxDelaySeconds"))
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
        self.open: list[tuple[str, str, Path]] = []

    def after(self, visit: Visit, ends: Upstream) -> Upstream:
        """The dependencies of the next state, taking into account this state's Catch."""
        for number, rule in enumerate(visit.state.get("Catch", [])):
            where = (*visit.source, "Catch", number)
            target = rule.get("Next")
            if not _ANY & set(rule.get("ErrorEquals", [])):
                self._note(ends, where, f"{visit.name}: Catch handled only some errors, and now handles any failure")
            if target == visit.state.get("Next"):
                return dict.fromkeys(ends, "finished")
            if self._only_ends(target):
                continue  # a failed job fails the run, and its cluster is terminated anyway
            if len(ends) != 1:
                self.machine.problem(
                    where,
                    f"the Catch of {visit.name} covers several jobs, and a pipeline cannot depend on any of them "
                    "failing",
                )
                continue
            self.open.append((next(iter(ends)), str(target), where))
        return ends

    def _note(self, ends: Upstream, source: Path, message: str) -> None:
        for job in list(ends)[:1]:
            ImportPosition(self.machine.top.translation, (*self.machine.top.path, "jobs", job), source).note(message)

    def _only_ends(self, name: Any) -> bool:
        """Whether a handler only terminates clusters and fails."""
        seen: set[Any] = set()
        while name not in seen:
            seen.add(name)
            state = self.states.get(name)
            if not isinstance(state, dict):
                return False
            if state.get("Type") == "Fail":
                return True
            if _TERMINATE not in str(state.get("Resource")) and state.get("Type") != "Pass":
                return False
            if state.get("End"):
                return _TERMINATE in str(state.get("Resource"))
            name = state.get("Next")
        return False

    def walk_all(self, main: set[str], start: Visit) -> None:
        """Translate the handlers, after the states of the path without failures."""
        for job, name, source in self.open:
            visit = replace(start, name=name, upstream={job: "failed"}, data=Given(("Error",)))
            succeeds = self._walk(job, source, main, visit)
            if succeeds is not None:
                ImportPosition(self.machine.top.translation, (*self.machine.top.path, "jobs", job), source).note(
                    "the states that handle its failure also run if an upstream job has failed"
                    + ("; the run is then marked failed, whereas the execution succeeded" if succeeds else "")
                )

    def _walk(self, job: str, source: Path, main: set[str], visit: Visit) -> bool | None:
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
            if state.get("Type") == "Fail":
                return False
            upstream, data = self.machine.handle(replace(visit, state=state, source=(*self.at, visit.name)), self)
            if state.get("End") or str(state.get("Type")) in {"Succeed", "Choice"}:
                return True
            visit = replace(visit, name=str(state.get("Next")), upstream=upstream, data=data)
