"""Translate the states of a state machine: their order, Parallel, Map, Wait, and their data flow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from airflow_batchemr.pipeline_file.importers.step_functions.failures import Handlers, retry
from airflow_batchemr.pipeline_file.importers.step_functions.integrations import Integrations
from airflow_batchemr.pipeline_file.importers.step_functions.items import items_of, tolerates
from airflow_batchemr.pipeline_file.importers.step_functions.members import Members
from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    FollowUpError,
    Given,
    Refused,
    Result,
    Template,
    Unknown,
    UntranslatableError,
    Writer,
    constant,
    lazy_expression,
    overlay,
    path_steps,
    payload,
)
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Path, free_name, plain
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import Problem

_SLEEP = "airflow.providers.standard.operators.bash.BashOperator"
_EMPTY = "airflow.providers.standard.operators.empty.EmptyOperator"
#: What to do about members that have no equivalent.
_INSTEAD = {
    "Assign": "use the state's result or the execution's input instead",
    "ItemBatcher": "use an array job: `array: {rows: s3://…, pack: …}`",
    "ResultWriter": "have the program write its results to S3",
}

#: Upstream jobs and their rules.
Upstream = dict[str, str]


@dataclass(frozen=True)
class Visit:
    """A state that is being translated.

    Attributes:
        name: its name.
        state: its definition.
        source: its path in the file.
        upstream: the jobs that it depends on.
        data: its input, or its parameters.
        suffix: suffix of its jobs' names, for an item of a Map.
        context: additional entries of the context object (`$$`).
        input: its input.
    """

    name: str
    state: Members
    source: Path
    upstream: Upstream
    data: Any
    suffix: str = ""
    context: dict[str, Any] = field(default_factory=dict)
    input: Any = None


def _choice_targets(choice: dict[str, Any]) -> list[str]:
    """The states that a Choice may continue with."""
    rules = choice.get("Choices")
    found = [rule.get("Next") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return [str(target) for target in (*found, choice.get("Default")) if target is not None]


class Machine:
    """Translates one state machine.

    Args:
        top: the position of the pipeline.

    Attributes:
        jobs: the translated jobs.
        clusters: the translated clusters.
        write: writes values as text of the pipeline file.
    """

    def __init__(self, top: ImportPosition) -> None:
        self.top = top
        self.jobs: dict[str, dict[str, Any]] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.write = Writer()
        self._integrations = Integrations(self)

    def problem(self, source: Path, message: str, hint: str | None = None) -> None:
        """Add an error for a state that has no equivalent in a pipeline."""
        problem = Problem(source, message, hint)
        if problem not in self.top.translation.problems:  # an item of a Map repeats those of the first one
            self.top.translation.problems.append(problem)

    def unread(self, members: Members, source: Path) -> None:
        """Add an error for each member that has not been translated."""
        for path in members.unread():
            name = str(path[-1])
            message = f"`{name}` has no equivalent in a pipeline file and is not translated"
            self.problem((*source, *path), message, _INSTEAD.get(name, "remove it if it does not matter"))

    def finish(self, pipeline: dict[str, Any], ends: Upstream) -> None:
        """Add params, clusters and jobs to the pipeline.

        Args:
            pipeline: the pipeline.
            ends: the jobs at the end of the execution, and their rules.
        """
        if "finished" in ends.values():
            job = free_name("Succeed", {*self.jobs, *self.clusters})
            self.jobs[job] = {"operator": _EMPTY, "after": dict(ends)}
            self.top.at("jobs", job).note(
                "the execution succeeded although the jobs before this one failed, and so does the run, because the "
                "state of a run is that of its last tasks"
            )
        self._integrations.finish(pipeline)
        if self.write.params:
            pipeline["params"] = {name: {"title": plain(title)} for name, title in self.write.params.items()}
            self.top.at("params").note(
                "the fields of the execution's input that the states use; in text, true is rendered as True and null "
                "as None"
            )
        for was, template in self.write.replaced.items():
            self.top.at("jobs").note(f"{was} is now {template}")
        if self.clusters:
            pipeline["clusters"] = self.clusters
            used = {job["emr"].get("cluster") for job in self.jobs.values() if "emr" in job}
            for name in self.clusters.keys() - used:
                self.top.at("clusters", name).note("no step uses this cluster", refused=True)
        pipeline["jobs"] = self.jobs

    def walk(self, machine: Members, start: Visit) -> tuple[Upstream, Any]:
        """Translate the states from `StartAt` to the end.

        Args:
            machine: an object with StartAt and States: the state machine, a branch, or a Map's processor.
            start: the path of the object, and the upstream jobs and input of its first state.

        Returns:
            the jobs that the next state depends on, and the output.
        """
        machine.skip("Comment")
        states, name = machine.get("States"), str(machine.get("StartAt"))
        at = (*start.source, "States")
        if not isinstance(states, dict):
            self.problem(at, f"expected a mapping of states, not {shown(states)}")
            return start.upstream, start.data
        handlers = Handlers(self, states, at)
        seen: set[str] = set()
        targets: list[tuple[str, Upstream, Any]] = []
        after_choice = False
        upstream, data = start.upstream, start.data
        while True:
            state, source = states.get(name), (*at, name)
            if not isinstance(state, dict):
                self.problem(source if name in states else start.source, f"there is no state {name!r}")
            elif name in seen:
                if not after_choice:
                    self.problem(source, "the states form a cycle, which a Dag cannot contain")
            else:
                seen.add(name)
                visit = replace(start, name=name, state=Members(state), source=source, upstream=upstream, data=data)
                if not (after_choice and state.get("Type") == "Fail"):
                    upstream, data = self.handle(visit, handlers)
                if not (state.get("End") or str(state.get("Type")) in {"Succeed", "Fail", "Choice"}):
                    if "Next" not in state:
                        self.problem(source, "the state has neither Next nor End")
                        return upstream, data
                    name = str(state["Next"])
                    continue
                if state.get("Type") == "Choice":  # an error; continue in order to report the errors after it too
                    after_choice = True
                    targets += [(target, upstream, data) for target in _choice_targets(state)]
            targets = [target for target in targets if target[0] not in seen]
            if not targets:
                handlers.walk_all(seen, start)
                return upstream, data
            name, upstream, data = targets.pop(0)

    def handle(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        """Translate a state, and add an error if that is not possible.

        Returns:
            the jobs that the next state depends on, and the state's output.
        """
        try:
            result = self._translate(visit, handlers)
            self.unread(visit.state, visit.source)
        except FollowUpError:
            pass  # the error is that of the state whose result is missing
        except UntranslatableError as error:
            self.problem(visit.source, str(error))
        else:
            return result
        return visit.upstream, self._lost(visit)

    def _lost(self, visit: Visit) -> Any:
        """The output of a state with an error, so that the errors of the states after it are true."""
        state = visit.state
        if state.get("Type") == "Choice":
            return visit.data
        # The result of a task is not available in any case, except that of createCluster
        known = state.get("Type") != "Task" or "createCluster" in str(state.get("Resource"))
        result = Refused() if known else Result(visit.name)
        try:
            path = state.get("ResultPath", "$")
            return visit.data if path is None else overlay(visit.data, path_steps(str(path)), result)
        except UntranslatableError:
            return result

    def _translate(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        """Translate a state and its data flow: InputPath, Parameters, ResultSelector, ResultPath and OutputPath."""
        state, data = visit.state, visit.data
        state.skip("Type", "Comment", "Next", "End")
        context = {**self._context(visit.name), **visit.context}
        if state.get("QueryLanguage", "JSONPath") != "JSONPath":
            raise UntranslatableError(
                f"the query language {state.get('QueryLanguage')} is not supported, only JSONPath"
            )
        given = self._path(state, "InputPath", data, context)
        if state.get("Type") != "Map" and "Parameters" in state:
            given = payload(state.get("Parameters"), given, context)
        upstream, result = self._run(replace(visit, data=given, input=data), context, handlers)
        if state.get("Type") in {"Wait", "Succeed"}:
            return upstream, self._path(state, "OutputPath", given, context)
        if selector := state.get("ResultSelector"):
            result = payload(selector, result, context)
        path = state.get("ResultPath", "$")
        out = data if path is None else overlay(data, path_steps(constant(path, str, "ResultPath")), result)
        return upstream, self._path(state, "OutputPath", out, context)

    def _run(self, visit: Visit, context: dict[str, Any], handlers: Handlers) -> tuple[Upstream, Any]:
        kind = visit.state.get("Type")
        if kind == "Task":
            return self._integrations.task(visit, handlers)
        if kind == "Pass":
            return visit.upstream, visit.state.get("Result", visit.data)
        if kind == "Parallel":
            return self._parallel(visit, handlers)
        if kind == "Map":
            return self._map(visit, context, handlers)
        if kind == "Wait":
            return self._wait(visit), None
        if kind == "Succeed":
            return visit.upstream, None
        if kind == "Fail":
            raise UntranslatableError("this state is always reached: the pipeline would always fail")
        if kind == "Choice":
            raise UntranslatableError(
                "Choice selects the next state by the data of the run, but every run of a pipeline has the same jobs. "
                "Have the program decide (and succeed without doing anything), or make each branch a pipeline"
            )
        raise UntranslatableError(f"unknown state type: {shown(kind)}")

    def _context(self, name: str) -> dict[str, Any]:
        execution = {
            "Id": Template("run_id", "$$.Execution.Id, an ARN,"),
            "Name": Template("run_id", "$$.Execution.Name"),
            "StartTime": Template("dag_run.start_date | ts", "$$.Execution.StartTime, which ended with Z,"),
            "Input": Given(),
        }
        machine = {"Name": self.top.path[0], "Id": Unknown("a pipeline is no state machine with an ARN")}
        return {"Execution": execution, "State": {"Name": name}, "StateMachine": machine}

    def _path(self, state: Members, field: str, value: Any, context: dict[str, Any]) -> Any:
        path = state.get(field, "$")
        return {} if path is None else lazy_expression(path, value, context)

    def new_job(self, visit: Visit, suffix: str = "") -> tuple[str, ImportPosition, dict[str, Any]]:
        """A job for a state: its name, its position, and its keys `description` and `after`."""
        name = f"{visit.name}{suffix}{visit.suffix}"
        job = free_name(name, {*self.jobs, *self.clusters})
        place = ImportPosition(self.top.translation, (*self.top.path, "jobs", job), visit.source)
        place.mark()
        if job != name:
            place.note(f"was the state {visit.name!r}; a name may contain letters, digits, - and _")
        keys: dict[str, Any] = {}
        if isinstance(comment := visit.state.get("Comment"), str):
            keys["description"] = plain(comment)
        if visit.upstream:
            names = list(visit.upstream)
            keys["after"] = dict(visit.upstream)
            if set(visit.upstream.values()) == {"succeeded"}:
                keys["after"] = names[0] if len(names) == 1 else names
        return job, place, keys

    def _wait(self, visit: Visit) -> Upstream:
        if "Seconds" not in visit.state:
            raise UntranslatableError(
                "Wait is only supported with Seconds, not until a time that is only known at run time"
            )
        seconds = visit.state.constant("Seconds", int)
        job, place, keys = self.new_job(visit)
        place.note("the job occupies an Airflow worker slot while it sleeps")
        self.jobs[job] = keys | {"operator": _SLEEP, "with": {"bash_command": f"sleep {seconds}"}}
        return {job: "succeeded"}

    def _parallel(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        after: Upstream = {}
        known = set(self.jobs)
        outputs = []
        for number, branch in enumerate(visit.state.items("Branches")):
            ends, output = self.walk(branch, replace(visit, source=(*visit.source, "Branches", number)))
            after |= ends
            outputs.append(output)
        if not outputs:
            raise UntranslatableError("Branches is empty")
        self._retry_all(visit, known)
        self._note_independent(visit, known)
        return handlers.after(visit, after), outputs

    def _note_independent(self, visit: Visit, known: set[str]) -> None:
        """Report that a failure no longer stops the other branches or items."""
        if len(self.jobs) > len(known) + 1:
            self.top.at("jobs", source=visit.source).note(
                f"{visit.name} stopped when one of its jobs failed; now the others run to their end"
            )

    def _retry_all(self, visit: Visit, known: set[str]) -> None:
        """Translate the Retry of a Parallel or a Map to retries of its jobs."""
        if "Retry" not in visit.state:
            return
        open_ = [job for job in self.jobs if job not in known and "retries" not in self.jobs[job]]
        if not open_:
            visit.state.skip("Retry")
            self.top.at(source=(*visit.source, "Retry")).note(
                f"the Retry of {visit.name} is omitted: its jobs have their own retries, or it has none"
            )
        for job in open_:
            place = ImportPosition(self.top.translation, (*self.top.path, "jobs", job), visit.source)
            place.note(f"the Retry of {visit.name} repeated all of its states; now only failed jobs are retried")
            self.jobs[job] |= retry(visit.state, place)

    def _map(self, visit: Visit, context: dict[str, Any], handlers: Handlers) -> tuple[Upstream, Any]:
        state = visit.state
        state.skip("Label")
        items = items_of(state, visit.data)
        tolerant = tolerates(state, len(items))
        where = "ItemProcessor" if "ItemProcessor" in state else "Iterator"
        at_once = state.constant("MaxConcurrency", int, 0)
        if 1 < at_once < len(items):
            self.top.at("jobs", source=visit.source).note(
                f"{visit.name} limited MaxConcurrency to {at_once} items; to keep that, set a `pool:` with {at_once} "
                "slots on the jobs"
            )
        after: Upstream = {}
        known = set(self.jobs)
        outputs = []
        state.skip(where)
        selector = state.get("ItemSelector", state.get("Parameters"))
        for number, item in enumerate(items):
            here = {**visit.context, "Map": {"Item": {"Value": item, "Index": number}}}
            given = item if selector is None else payload(selector, visit.data, {**context, **here})
            processor = state.members(where)
            processor.members("ProcessorConfig").skip("Mode", "ExecutionType")
            ends, output = self.walk(
                processor,
                replace(
                    visit,
                    source=(*visit.source, where),
                    upstream=after if at_once == 1 and after else visit.upstream,
                    data=given,
                    suffix=f"{visit.suffix}-{number}",
                    context=here,
                ),
            )
            ends = dict.fromkeys(ends, "finished") if tolerant else ends
            after = ends if at_once == 1 else {**after, **ends}
            outputs.append(output)
        self._retry_all(visit, known)
        if at_once != 1 and not tolerant:
            self._note_independent(visit, known)
        if tolerant is None:
            raise UntranslatableError(
                "a pipeline cannot continue after the failure of some items (ToleratedFailureCount and "
                "ToleratedFailurePercentage): set 0 or all, or have the program tolerate the failure"
            )
        return handlers.after(visit, after or visit.upstream, of_jobs=bool(after)), outputs
