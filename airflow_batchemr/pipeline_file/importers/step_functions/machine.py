"""Translate the states of a state machine: their order, Parallel, Map, Wait, and their data flow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_batchemr.pipeline_file.importers.step_functions import clusters, tasks
from airflow_batchemr.pipeline_file.importers.step_functions.failures import Handlers, retries
from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    Cluster,
    ClusterId,
    Given,
    Result,
    Template,
    UntranslatableError,
    Writer,
    constant,
    expression,
    look_up,
    overlay,
    path_steps,
    payload,
)
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Path, free_name
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import Problem

_RESOURCE = re.compile(r"arn:aws[\w-]*:states:[\w-]*:\d*:(?P<service>[\w-]+):(?P<call>\w+)(?P<wait>\.[\w:.]+)?")
_BATCH, _EMR = "batch", "elasticmapreduce"
#: Maximum number of Map items that become separate jobs; more items should be an array job.
_MAX_ITEMS = 100
_SLEEP = "airflow.providers.standard.operators.bash.BashOperator"

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
        data: its input.
        suffix: suffix of its jobs' names, for an item of a Map.
        context: additional entries of the context object (`$$`).
    """

    name: str
    state: dict[str, Any]
    source: Path
    upstream: Upstream
    data: Any
    suffix: str = ""
    context: dict[str, Any] = field(default_factory=dict)


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

    def problem(self, source: Path, message: str) -> None:
        """Add an error for a state that has no equivalent in a pipeline."""
        self.top.translation.problems.append(Problem(source, message))

    def finish(self, pipeline: dict[str, Any]) -> None:
        """Add params, clusters and jobs to the pipeline."""
        if self.write.params:
            pipeline["params"] = {name: {"title": title} for name, title in self.write.params.items()}
            self.top.at("params").note("the fields of the execution's input that the states use")
        if self.clusters:
            pipeline["clusters"] = self.clusters
            used = {job["emr"].get("cluster") for job in self.jobs.values() if "emr" in job}
            for name in self.clusters.keys() - used:
                self.top.at("clusters", name).note("no step uses this cluster", refused=True)
        pipeline["jobs"] = self.jobs

    def walk(self, machine: dict[str, Any], start: Visit) -> tuple[Upstream, Any]:
        """Translate the states from `StartAt` to the end.

        Args:
            machine: an object with StartAt and States: the state machine, a branch, or a Map's processor.
            start: the path of the object, and the upstream jobs and input of its first state.

        Returns:
            the jobs that the next state depends on, and the output.
        """
        states, name = machine.get("States"), str(machine.get("StartAt"))
        at = (*start.source, "States")
        if not isinstance(states, dict):
            self.problem(at, f"expected a mapping of states, not {shown(states)}")
            return start.upstream, start.data
        handlers = Handlers(self, states, at)
        seen: set[str] = set()
        targets: list[str] = []
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
                visit = replace(start, name=name, state=state, source=source, upstream=upstream, data=data)
                upstream, data = self.handle(visit, handlers)
                if not (state.get("End") or str(state.get("Type")) in {"Succeed", "Fail", "Choice"}):
                    if "Next" not in state:
                        self.problem(source, "the state has neither Next nor End")
                        return upstream, data
                    name = str(state["Next"])
                    continue
                if state.get("Type") == "Choice":  # an error; continue in order to report the errors after it too
                    after_choice = True
                    targets += _choice_targets(state)
            targets = [target for target in targets if target not in seen]
            if not targets:
                handlers.walk_all(seen, start)
                return upstream, data
            name = targets.pop(0)

    def handle(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        """Translate a state, and add an error if that is not possible.

        Returns:
            the jobs that the next state depends on, and the state's output.
        """
        try:
            return self._translate(visit, handlers)
        except UntranslatableError as error:
            self.problem(visit.source, str(error))
        except (TypeError, AttributeError, KeyError, ValueError, IndexError) as error:
            self.problem(visit.source, f"invalid state definition ({type(error).__name__}: {error})")
        return visit.upstream, visit.data if visit.state.get("Type") == "Choice" else Result(visit.name)

    def _translate(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        """Translate a state and its data flow: InputPath, Parameters, ResultSelector, ResultPath and OutputPath."""
        state, data = visit.state, visit.data
        context = {**self._context(visit.name), **visit.context}
        if state.get("QueryLanguage", "JSONPath") != "JSONPath":
            raise UntranslatableError(f"the query language {state['QueryLanguage']} is not supported, only JSONPath")
        given = self._path(state, "InputPath", data, context)
        if state.get("Type") != "Map" and "Parameters" in state:
            given = payload(state["Parameters"], given, context)
        upstream, result = self._run(replace(visit, data=given), context, handlers)
        if state.get("Type") in {"Wait", "Succeed"}:
            return upstream, data
        if state.get("ResultSelector"):
            result = payload(state["ResultSelector"], result, context)
        path = state.get("ResultPath", "$")
        out = data if path is None else overlay(data, path_steps(path), result)
        return upstream, self._path(state, "OutputPath", out, context)

    def _run(self, visit: Visit, context: dict[str, Any], handlers: Handlers) -> tuple[Upstream, Any]:
        kind = visit.state.get("Type")
        if kind == "Task":
            return self._task(visit, handlers)
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
            "Id": Template("run_id"),
            "Name": Template("run_id"),
            "StartTime": Template("dag_run.start_date | ts"),
            "Input": Given(),
        }
        machine = {"Name": self.top.path[0], "Id": self.top.path[0]}
        return {"Execution": execution, "State": {"Name": name}, "StateMachine": machine}

    def _path(self, state: dict[str, Any], field: str, value: Any, context: dict[str, Any]) -> Any:
        path = state.get(field, "$")
        return {} if path is None else expression(str(path), value, context)

    def _new_job(self, visit: Visit, suffix: str = "") -> tuple[str, ImportPosition, dict[str, Any]]:
        """A job for a state: its name, its position, and its keys `description` and `after`."""
        name = f"{visit.name}{suffix}{visit.suffix}"
        job = free_name(name, {*self.jobs, *self.clusters})
        place = ImportPosition(self.top.translation, (*self.top.path, "jobs", job), visit.source)
        place.mark()
        if job != name:
            place.note(f"was the state {visit.name!r}; a name may contain letters, digits, - and _")
        keys: dict[str, Any] = {}
        if isinstance(visit.state.get("Comment"), str):
            keys["description"] = visit.state["Comment"]
        if visit.upstream:
            names = list(visit.upstream)
            keys["after"] = dict(visit.upstream)
            if set(visit.upstream.values()) == {"succeeded"}:
                keys["after"] = names[0] if len(names) == 1 else names
        return job, place, keys

    def _task(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        resource = _RESOURCE.fullmatch(str(visit.state.get("Resource", "")))
        service, call = (resource["service"], resource["call"]) if resource else ("", "")
        if service not in {_BATCH, _EMR}:
            raise UntranslatableError(
                f"{visit.state.get('Resource')} is not supported, only AWS Batch (batch:submitJob) and EMR "
                "(elasticmapreduce); write this task as a job with `operator:`"
            )
        given = constant(visit.data, dict, "Parameters")
        if (service, call) == (_EMR, "terminateCluster"):
            if not isinstance(given.get("ClusterId"), ClusterId):
                raise UntranslatableError(
                    "terminateCluster refers to a cluster that this state machine has not created"
                )
            return visit.upstream, {}
        if (service, call) == (_EMR, "createCluster"):
            return self._cluster(visit, given, handlers)
        job, place, keys = self._new_job(visit)
        if (service, call) == (_BATCH, "submitJob"):
            keys |= tasks.batch(given, self.write, place)
        elif (service, call) == (_EMR, "addStep"):
            emr = tasks.cluster_of(given.get("ClusterId"), self.write)
            step = constant(given.get("Step"), dict, "Step")
            keys |= {"emr": emr, "steps": tasks.steps([step], self.write, place, shared="cluster" in emr)}
        else:
            raise UntranslatableError(f"{service}:{call} is not supported in a pipeline file")
        if resource and resource["wait"] != ".sync":
            place.note(
                "Step Functions did not wait for this task (no .sync); downstream jobs now wait until it has finished"
            )
        keys |= retries(visit.state, place)
        self.jobs[job] = keys
        return handlers.after(visit, {job: "succeeded"}), Result(visit.name)

    def _cluster(self, visit: Visit, given: dict[str, Any], handlers: Handlers) -> tuple[Upstream, Any]:
        cluster = free_name(visit.name + visit.suffix, {*self.jobs, *self.clusters})
        place = ImportPosition(self.top.translation, (*self.top.path, "clusters", cluster), visit.source)
        place.mark()
        self.clusters[cluster] = clusters.cluster(given, place)
        upstream = handlers.after(visit, visit.upstream)
        if steps := constant(given.get("Steps", []), list, "Steps"):
            job, at, keys = self._new_job(visit, "-steps")
            keys |= {"emr": {"cluster": cluster}, "steps": tasks.steps(steps, self.write, at, shared=True)}
            self.jobs[job] = keys
            upstream = {job: "succeeded"}
        return upstream, Cluster(cluster)

    def _wait(self, visit: Visit) -> Upstream:
        if "Seconds" not in visit.state:
            raise UntranslatableError(
                "Wait is only supported with Seconds, not until a time that is only known at run time"
            )
        seconds = constant(visit.state["Seconds"], int, "Seconds")
        job, place, keys = self._new_job(visit)
        place.note("the job occupies an Airflow worker slot while it sleeps")
        self.jobs[job] = keys | {"operator": _SLEEP, "with": {"bash_command": f"sleep {seconds}"}}
        return {job: "succeeded"}

    def _parallel(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        after: Upstream = {}
        known = set(self.jobs)
        outputs = []
        for number, branch in enumerate(constant(visit.state.get("Branches"), list, "Branches")):
            ends, output = self.walk(branch, replace(visit, source=(*visit.source, "Branches", number)))
            after |= ends
            outputs.append(output)
        self._retry_all(visit, known)
        return handlers.after(visit, after), outputs

    def _retry_all(self, visit: Visit, known: set[str]) -> None:
        """Translate the Retry of a Parallel or a Map to retries of its jobs."""
        if "Retry" not in visit.state:
            return
        for job in [job for job in self.jobs if job not in known and "retries" not in self.jobs[job]]:
            place = ImportPosition(self.top.translation, (*self.top.path, "jobs", job), visit.source)
            place.note(f"the Retry of {visit.name} repeated all of its states; now only failed jobs are retried")
            self.jobs[job] |= retries({"Retry": visit.state["Retry"]}, place)

    def _map(self, visit: Visit, context: dict[str, Any], handlers: Handlers) -> tuple[Upstream, Any]:
        state = visit.state
        items = self._items(state, visit.data)
        where = "ItemProcessor" if "ItemProcessor" in state else "Iterator"
        processor = constant(state.get(where), dict, where)
        at_once = constant(state.get("MaxConcurrency", 0), int, "MaxConcurrency")
        if 1 < at_once < len(items):
            self.top.at("jobs", source=visit.source).note(
                f"{visit.name} limited concurrency to {at_once} items; to keep that, set a `pool:` with {at_once} "
                "slots on the jobs"
            )
        after: Upstream = {}
        known = set(self.jobs)
        outputs = []
        for number, item in enumerate(items):
            here = {**visit.context, "Map": {"Item": {"Value": item, "Index": number}}}
            selector = state.get("ItemSelector", state.get("Parameters"))
            given = item if selector is None else payload(selector, visit.data, {**context, **here})
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
            after = ends if at_once == 1 else {**after, **ends}
            outputs.append(output)
        self._retry_all(visit, known)
        return handlers.after(visit, after or visit.upstream), outputs

    def _items(self, state: dict[str, Any], data: Any) -> list[Any]:
        if "ItemReader" in state:
            raise UntranslatableError(
                "write a Map over objects or rows in S3 as an array job: `array: {per_object: s3://…}` (the object is "
                "in BATCHEMR_INPUT_URI) or `array: {rows: s3://…}` (the row is in BATCHEMR_ROW)"
            )
        items = state.get("Items")
        if items is None:
            items = look_up(data, path_steps(state.get("ItemsPath", "$")), "ItemsPath")
        if not isinstance(items, list):
            raise UntranslatableError(
                "the items are only known at run time. Write them to S3, one per line, and use an array job: "
                "`array: {rows: s3://…}` (the line is in BATCHEMR_ROW)"
            )
        if len(items) > _MAX_ITEMS:
            raise UntranslatableError(f"too many items ({len(items)}): use an array job, `array: {len(items)}`")
        return items
