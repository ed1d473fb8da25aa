"""A state machine to a pipeline: the order of its states, Parallel, Map, Wait, and what each does with data."""

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
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Path, Translation, duration, free_name
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import Problem
from airflow_batchemr.pipeline_file.vocabulary import RESERVED

_RESOURCE = re.compile(r"arn:aws[\w-]*:states:[\w-]*:\d*:(?P<service>[\w-]+):(?P<call>\w+)(?P<wait>\.[\w:.]+)?")
_BATCH, _EMR = "batch", "elasticmapreduce"
#: Items of a Map that are written out as jobs; above it an array job is what is meant.
_MAX_ITEMS = 100
_SLEEP = "airflow.providers.standard.operators.bash.BashOperator"

#: Jobs that come before, and what must have become of them.
Before = dict[str, str]


def translate(data: Any, name: str) -> Translation:
    """Make a pipeline file of a state machine.

    Never raises for what the data hold. A machine with a state that no pipeline says is in `problems`, with all of
    its reasons, and not in the file.

    Args:
        data: what `json.load` made of the Amazon States Language.
        name: of the pipeline; the language has none.
    """
    translation = Translation()
    if not isinstance(data, dict) or not isinstance(data.get("States"), dict) or "StartAt" not in data:
        message = "expected a state machine in Amazon States Language: an object with StartAt and States"
        translation.problems.append(Problem((), message))
        return translation
    name = free_name(name, RESERVED)
    translation.names[()] = name
    top = ImportPosition(translation, (name,), ())
    top.mark()
    machine = Machine(top)
    pipeline: dict[str, Any] = {}
    if isinstance(data.get("Comment"), str):
        pipeline["description"] = data["Comment"]
    pipeline["schedule"] = None
    top.at("schedule").note("a state machine has no schedule of its own: write the one that started it")
    if isinstance(data.get("TimeoutSeconds"), int):
        pipeline["deadline"] = duration(data["TimeoutSeconds"])
        top.at("deadline", source=["TimeoutSeconds"]).note(
            "Step Functions ended the execution after this time; here it is an alert; a job's `deadline` ends the job"
        )
    if data.get("QueryLanguage", "JSONPath") != "JSONPath":
        machine.problem(("QueryLanguage",), f"{data['QueryLanguage']} is not read, only JSONPath")
    else:
        machine.walk(data, Visit("", data, (), {}, Given()))
    if not machine.jobs and not translation.problems:
        machine.problem(("States",), "nothing runs: there is no task of AWS Batch or EMR")
    if translation.problems:
        if machine.jobs:
            top.note(
                f"can be kept as jobs: {', '.join(machine.jobs)}. Take what is refused out of the machine (a part that "
                "is chosen or repeated when it runs can be a machine, and so a pipeline, of its own) and import again"
            )
        return translation
    machine.finish(pipeline)
    translation.file[name] = pipeline
    if any("batch" in job for job in machine.jobs.values()):
        translation.file = {"defaults": {"batch": {"preamble": False, "attempts": 1}}, **translation.file}
        ImportPosition(translation, ("defaults", "batch", "preamble"), ()).note(
            "as in Step Functions the command is handed to the image's own entry point; with `preamble: true` arrays "
            "resume to the index"
        )
        ImportPosition(translation, ("defaults", "batch", "attempts"), ()).note(
            "AWS Batch tries once, unless a job's `submit` says else; its definition's own retry strategy is not asked"
        )
    return translation


@dataclass(frozen=True)
class Visit:
    """A state when the walk comes to it.

    Attributes:
        name: the state's.
        state: what it says.
        source: its keys in the file.
        before: what it waits for.
        data: its input.
        suffix: of its jobs' names, for an item of a Map.
        context: what the context object (`$$`) holds besides the run.
    """

    name: str
    state: dict[str, Any]
    source: Path
    before: Before
    data: Any
    suffix: str = ""
    context: dict[str, Any] = field(default_factory=dict)


def _ways(choice: dict[str, Any]) -> list[str]:
    """Where a Choice may go on."""
    rules = choice.get("Choices")
    found = [rule.get("Next") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return [str(way) for way in (*found, choice.get("Default")) if way is not None]


class Machine:
    """One machine on its way to a pipeline."""

    def __init__(self, top: ImportPosition) -> None:
        self.top = top
        self.jobs: dict[str, dict[str, Any]] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.write = Writer()

    def problem(self, source: Path, message: str) -> None:
        """Note something that no pipeline says."""
        self.top.translation.problems.append(Problem(source, message))

    def finish(self, pipeline: dict[str, Any]) -> None:
        """Put params, clusters and jobs into the pipeline."""
        if self.write.params:
            pipeline["params"] = {name: {"title": title} for name, title in self.write.params.items()}
            self.top.at("params").note("the execution's input, by the names that the states use of it")
        if self.clusters:
            pipeline["clusters"] = self.clusters
            used = {job["emr"].get("cluster") for job in self.jobs.values() if "emr" in job}
            for name in self.clusters.keys() - used:
                self.top.at("clusters", name).note("no step was put on this cluster", refused=True)
        pipeline["jobs"] = self.jobs

    def walk(self, machine: dict[str, Any], start: Visit) -> tuple[Before, Any]:
        """Follow the states from `StartAt` to the end.

        Args:
            machine: with StartAt and States: the whole, a branch, or a Map's processor.
            start: with the machine's own keys in the file, and what its first state waits for and gets.

        Returns:
            what comes after it waits for, and its output.
        """
        states, name = machine.get("States"), str(machine.get("StartAt"))
        at = (*start.source, "States")
        if not isinstance(states, dict):
            self.problem(at, f"expected states by name, not {shown(states)}")
            return start.before, start.data
        handlers = Handlers(self, states, at)
        seen: set[str] = set()
        ways: list[str] = []
        behind_choice = False
        before, data = start.before, start.data
        while True:
            state, source = states.get(name), (*at, name)
            if not isinstance(state, dict):
                self.problem(source if name in states else start.source, f"there is no state {name!r}")
            elif name in seen:
                if not behind_choice:
                    self.problem(source, "the states go round in a circle: a Dag has none")
            else:
                seen.add(name)
                visit = replace(start, name=name, state=state, source=source, before=before, data=data)
                before, data = self.handle(visit, handlers)
                if not (state.get("End") or str(state.get("Type")) in {"Succeed", "Fail", "Choice"}):
                    if "Next" not in state:
                        self.problem(source, "a state has Next or End")
                        return before, data
                    name = str(state["Next"])
                    continue
                if state.get("Type") == "Choice":  # it is refused; what lies behind it may hold more to be told
                    behind_choice = True
                    ways += _ways(state)
            ways = [way for way in ways if way not in seen]
            if not ways:
                handlers.walk_all(seen, start)
                return before, data
            name = ways.pop(0)

    def handle(self, visit: Visit, handlers: Handlers) -> tuple[Before, Any]:
        """One state: what follows waits for, and its output; what cannot be translated is noted."""
        try:
            return self._through(visit, handlers)
        except UntranslatableError as error:
            self.problem(visit.source, str(error))
        except (TypeError, AttributeError, KeyError, ValueError, IndexError) as error:
            self.problem(visit.source, f"not as Step Functions has it ({type(error).__name__}: {error})")
        return visit.before, visit.data if visit.state.get("Type") == "Choice" else Result(visit.name)

    def _through(self, visit: Visit, handlers: Handlers) -> tuple[Before, Any]:
        """A state with what it does to the data: InputPath, Parameters, its result, ResultSelector, paths."""
        state, data = visit.state, visit.data
        context = {**self._context(visit.name), **visit.context}
        if state.get("QueryLanguage", "JSONPath") != "JSONPath":
            raise UntranslatableError(f"{state['QueryLanguage']} is not read, only JSONPath")
        given = self._path(state, "InputPath", data, context)
        if state.get("Type") != "Map" and "Parameters" in state:
            given = payload(state["Parameters"], given, context)
        before, result = self._do(replace(visit, data=given), context, handlers)
        if state.get("Type") in {"Wait", "Succeed"}:
            return before, data
        if state.get("ResultSelector"):
            result = payload(state["ResultSelector"], result, context)
        path = state.get("ResultPath", "$")
        out = data if path is None else overlay(data, path_steps(path), result)
        return before, self._path(state, "OutputPath", out, context)

    def _do(self, visit: Visit, context: dict[str, Any], handlers: Handlers) -> tuple[Before, Any]:
        kind = visit.state.get("Type")
        if kind == "Task":
            return self._task(visit, handlers)
        if kind == "Pass":
            return visit.before, visit.state.get("Result", visit.data)
        if kind == "Parallel":
            return self._parallel(visit, handlers)
        if kind == "Map":
            return self._map(visit, context, handlers)
        if kind == "Wait":
            return self._wait(visit), None
        if kind == "Succeed":
            return visit.before, None
        if kind == "Fail":
            raise UntranslatableError("this state is always reached, and so the pipeline would always fail")
        if kind == "Choice":
            raise UntranslatableError(
                "Choice goes on by what the data say when it runs; a pipeline's jobs are the same in each run. Let the "
                "program itself decide (and succeed with nothing done), or write the branches as pipelines"
            )
        raise UntranslatableError(f"no type of state: {shown(kind)}")

    def _context(self, name: str) -> dict[str, Any]:
        execution = {
            "Id": Template("run_id"),
            "Name": Template("run_id"),
            "StartTime": Template("dag_run.start_date | ts"),
            "Input": Given(),
        }
        machine = {"Name": self.top.path[0], "Id": self.top.path[0]}
        return {"Execution": execution, "State": {"Name": name}, "StateMachine": machine}

    def _path(self, state: dict[str, Any], word: str, value: Any, context: dict[str, Any]) -> Any:
        path = state.get(word, "$")
        return {} if path is None else expression(str(path), value, context)

    def _place(self, visit: Visit, end: str = "") -> tuple[str, ImportPosition, dict[str, Any]]:
        """A job of its own for a state: its name, its place, its first words."""
        name = f"{visit.name}{end}{visit.suffix}"
        job = free_name(name, {*self.jobs, *self.clusters})
        place = ImportPosition(self.top.translation, (*self.top.path, "jobs", job), visit.source)
        place.mark()
        if job != name:
            place.note(f"was the state {visit.name!r}: AWS takes letters, digits, - and _")
        words: dict[str, Any] = {}
        if isinstance(visit.state.get("Comment"), str):
            words["description"] = visit.state["Comment"]
        if visit.before:
            names = list(visit.before)
            words["after"] = dict(visit.before)
            if set(visit.before.values()) == {"succeeded"}:
                words["after"] = names[0] if len(names) == 1 else names
        return job, place, words

    def _task(self, visit: Visit, handlers: Handlers) -> tuple[Before, Any]:
        resource = _RESOURCE.fullmatch(str(visit.state.get("Resource", "")))
        service, call = (resource["service"], resource["call"]) if resource else ("", "")
        if service not in {_BATCH, _EMR}:
            raise UntranslatableError(
                f"{visit.state.get('Resource')}: only tasks of AWS Batch (batch:submitJob) and EMR (elasticmapreduce) "
                "are translated; write this one as a job with `operator:`"
            )
        given = constant(visit.data, dict, "Parameters")
        if (service, call) == (_EMR, "terminateCluster"):
            if not isinstance(given.get("ClusterId"), ClusterId):
                raise UntranslatableError("terminateCluster of a cluster that this machine has not created")
            return visit.before, {}
        if (service, call) == (_EMR, "createCluster"):
            return self._cluster(visit, given, handlers)
        job, place, words = self._place(visit)
        if (service, call) == (_BATCH, "submitJob"):
            words |= tasks.batch(given, self.write, place)
        elif (service, call) == (_EMR, "addStep"):
            emr = tasks.cluster_of(given.get("ClusterId"), self.write)
            step = constant(given.get("Step"), dict, "Step")
            words |= {"emr": emr, "steps": tasks.steps([step], self.write, place, shared="cluster" in emr)}
        else:
            raise UntranslatableError(f"{service}:{call} has no word in a pipeline file")
        if resource and resource["wait"] != ".sync":
            place.note("Step Functions did not wait for it (no .sync); here the jobs after it wait for its end")
        words |= retries(visit.state, place)
        self.jobs[job] = words
        return handlers.after(visit, {job: "succeeded"}), Result(visit.name)

    def _cluster(self, visit: Visit, given: dict[str, Any], handlers: Handlers) -> tuple[Before, Any]:
        cluster = free_name(visit.name + visit.suffix, {*self.jobs, *self.clusters})
        place = ImportPosition(self.top.translation, (*self.top.path, "clusters", cluster), visit.source)
        place.mark()
        self.clusters[cluster] = clusters.cluster(given, place)
        before = handlers.after(visit, visit.before)
        if steps := constant(given.get("Steps", []), list, "Steps"):
            job, at, words = self._place(visit, "-steps")
            words |= {"emr": {"cluster": cluster}, "steps": tasks.steps(steps, self.write, at, shared=True)}
            self.jobs[job] = words
            before = {job: "succeeded"}
        return before, Cluster(cluster)

    def _wait(self, visit: Visit) -> Before:
        if "Seconds" not in visit.state:
            raise UntranslatableError("Wait until a moment that only the run knows; only Seconds are translated")
        seconds = constant(visit.state["Seconds"], int, "Seconds")
        job, place, words = self._place(visit)
        place.note("a worker of Airflow waits here, as long as the state did")
        self.jobs[job] = words | {"operator": _SLEEP, "with": {"bash_command": f"sleep {seconds}"}}
        return {job: "succeeded"}

    def _parallel(self, visit: Visit, handlers: Handlers) -> tuple[Before, Any]:
        after: Before = {}
        known = set(self.jobs)
        outputs = []
        for number, branch in enumerate(constant(visit.state.get("Branches"), list, "Branches")):
            ends, output = self.walk(branch, replace(visit, source=(*visit.source, "Branches", number)))
            after |= ends
            outputs.append(output)
        self._retry_all(visit, known)
        return handlers.after(visit, after), outputs

    def _retry_all(self, visit: Visit, known: set[str]) -> None:
        """Retry of a Parallel or a Map: it ran all its states again; here each job that has failed is tried again."""
        if "Retry" not in visit.state:
            return
        for job in [job for job in self.jobs if job not in known and "retries" not in self.jobs[job]]:
            place = ImportPosition(self.top.translation, (*self.top.path, "jobs", job), visit.source)
            place.note(f"the Retry of {visit.name} ran all of its states again; here each job that failed is")
            self.jobs[job] |= retries({"Retry": visit.state["Retry"]}, place)

    def _map(self, visit: Visit, context: dict[str, Any], handlers: Handlers) -> tuple[Before, Any]:
        state = visit.state
        items = self._items(state, visit.data)
        where = "ItemProcessor" if "ItemProcessor" in state else "Iterator"
        processor = constant(state.get(where), dict, where)
        at_once = constant(state.get("MaxConcurrency", 0), int, "MaxConcurrency")
        if 1 < at_once < len(items):
            self.top.at("jobs", source=visit.source).note(
                f"{visit.name}: {at_once} items ran at once; here all do: give the jobs a `pool:` with {at_once} slots"
            )
        after: Before = {}
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
                    before=after if at_once == 1 and after else visit.before,
                    data=given,
                    suffix=f"{visit.suffix}-{number}",
                    context=here,
                ),
            )
            after = ends if at_once == 1 else {**after, **ends}
            outputs.append(output)
        self._retry_all(visit, known)
        return handlers.after(visit, after or visit.before), outputs

    def _items(self, state: dict[str, Any], data: Any) -> list[Any]:
        if "ItemReader" in state:
            raise UntranslatableError(
                "a Map over objects or rows in S3 is an array job: `array: {per_object: s3://…}` (the object is in "
                "BATCHEMR_INPUT_URI) or `array: {rows: s3://…}` (the row is in BATCHEMR_ROW)"
            )
        items = state.get("Items")
        if items is None:
            items = look_up(data, path_steps(state.get("ItemsPath", "$")), "ItemsPath")
        if not isinstance(items, list):
            raise UntranslatableError(
                "the items are known only when it runs. Write them to S3 as lines and use an array job: "
                "`array: {rows: s3://…}`, whose program finds its line in BATCHEMR_ROW"
            )
        if len(items) > _MAX_ITEMS:
            raise UntranslatableError(f"{len(items)} items are an array job: `array: {len(items)}`")
        return items
