"""What Step Functions does when a state fails: Retry as Airflow's tries, Catch as far as trigger rules say it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import Given, UntranslatableError, constant
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Path, duration

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.machine import Before, Machine, Visit

#: Errors that stand for any failure of a task.
_ANY = {"States.ALL", "States.TaskFailed"}
_TERMINATE = ":elasticmapreduce:terminateCluster"
#: Retries and factors that the pipeline file takes.
_MAX_RETRIES, _MAX_FACTOR = 100, 10


def retries(state: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    """Retry and TimeoutSeconds of a state as a job's retries, delays and deadline."""
    made: dict[str, Any] = {}
    rules = state.get("Retry", [])
    chosen = next((rule for rule in rules if _ANY & set(rule.get("ErrorEquals", []))), rules[0] if rules else None)
    if chosen is not None:
        made = _retry(chosen, place)
        if not _ANY & set(chosen.get("ErrorEquals", [])) or len(rules) > 1:
            place.at("retries", source=["Retry"]).note(
                "Step Functions tried again for some errors only, or differently for each; Airflow does for any failure"
            )
    limit = state.get("TimeoutSeconds")
    if "TimeoutSecondsPath" in state:
        raise UntranslatableError("TimeoutSecondsPath: known only when it runs, and here it has to be written down")
    if limit is not None:
        seconds = constant(limit, int, "TimeoutSeconds")
        tries = made.get("retries", 0) + 1
        made["deadline"] = duration(seconds * tries)
        if tries > 1:
            place.at("deadline", source=["TimeoutSeconds"]).note(
                f"each of {tries} tries had {duration(seconds)}; here it is the time of all of them"
            )
    if "HeartbeatSeconds" in state:
        place.at(source=["HeartbeatSeconds"]).note("HeartbeatSeconds is left out: no job sends heartbeats")
    return made


def _retry(rule: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    tries = constant(rule.get("MaxAttempts", 3), int, "MaxAttempts")
    made: dict[str, Any] = {"retries": min(tries, _MAX_RETRIES)}
    if not tries:
        return made
    made["retry_delay"] = duration(constant(rule.get("IntervalSeconds", 1), int, "IntervalSeconds"))
    factor = constant(rule.get("BackoffRate", 2.0), (int, float), "BackoffRate")
    kept = min(max(factor, 1), _MAX_FACTOR)
    if kept != 1:
        made["retry_backoff"] = int(kept) if kept == int(kept) else kept
        if rule.get("JitterStrategy") != "FULL":
            place.at("retry_backoff", source=["Retry"]).note(
                "Airflow waits up to as long again, at random, so that not all retries come at once"
            )
    if kept != factor or tries > _MAX_RETRIES:
        place.at("retries", source=["Retry"]).note(
            f"{tries} retries with a factor of {factor:g}: at most {_MAX_RETRIES}, with 1 to {_MAX_FACTOR}"
        )
    if "MaxDelaySeconds" in rule:
        made["max_retry_delay"] = duration(constant(rule["MaxDelaySeconds"], int, "MaxDelaySeconds"))
    return made


class Handlers:
    """The Catch of a machine's states.

    Args:
        machine: the whole on its way to a pipeline.
        states: of this machine or branch.
        at: their keys in the file.
    """

    def __init__(self, machine: Machine, states: dict[str, Any], at: Path) -> None:
        self.machine = machine
        self.states = states
        self.at = at
        self.open: list[tuple[str, str, Path]] = []

    def after(self, visit: Visit, ends: Before) -> Before:
        """What the next state waits for, with this state's Catch."""
        for number, rule in enumerate(visit.state.get("Catch", [])):
            where = (*visit.source, "Catch", number)
            target = rule.get("Next")
            if not _ANY & set(rule.get("ErrorEquals", [])):
                self._note(ends, where, f"{visit.name}: was caught for some errors only, and is for any failure")
            if target == visit.state.get("Next"):
                return dict.fromkeys(ends, "finished")
            if self._only_ends(target):
                continue  # a failed job fails the run, and its cluster is ended: no word is needed
            if len(ends) != 1:
                self.machine.problem(
                    where,
                    f"the Catch of {visit.name} stands for several jobs: there is no word for which of them failed",
                )
                continue
            self.open.append((next(iter(ends)), str(target), where))
        return ends

    def _note(self, ends: Before, source: Path, message: str) -> None:
        for job in list(ends)[:1]:
            ImportPosition(self.machine.top.translation, (*self.machine.top.path, "jobs", job), source).note(message)

    def _only_ends(self, name: Any) -> bool:
        """Whether a handler does nothing but end clusters and fail."""
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
        """Follow the handlers, once the states of the way without failures are known."""
        for job, name, source in self.open:
            visit = replace(start, name=name, before={job: "failed"}, data=Given(("Error",)))
            succeeds = self._walk(job, source, main, visit)
            if succeeds is not None:
                ImportPosition(self.machine.top.translation, (*self.machine.top.path, "jobs", job), source).note(
                    "the states that catch its failure run as well when a job before it has failed"
                    + ("; the run then counts as failed, which the execution did not" if succeeds else "")
                )

    def _walk(self, job: str, source: Path, main: set[str], visit: Visit) -> bool | None:
        """One handler to its end: whether the execution then succeeded, None where it cannot be translated."""
        seen: set[str] = set()
        while True:
            state = self.states.get(visit.name)
            if not isinstance(state, dict):
                self.machine.problem(source, f"there is no state {visit.name!r}")
                return None
            if visit.name in main or visit.name in seen:
                self.machine.problem(
                    source,
                    f"after its failure {job} goes on at {visit.name}, where others come from too: 'whichever of them "
                    "ran' has no word in a file. Let the handler end by itself",
                )
                return None
            seen.add(visit.name)
            if state.get("Type") == "Fail":
                return False
            before, data = self.machine.handle(replace(visit, state=state, source=(*self.at, visit.name)), self)
            if state.get("End") or str(state.get("Type")) in {"Succeed", "Choice"}:
                return True
            visit = replace(visit, name=str(state.get("Next")), before=before, data=data)
