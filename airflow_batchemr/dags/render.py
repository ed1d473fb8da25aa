"""A plan → the Python that an Airflow user would have written: what `batchemr render` prints.

It makes the same Dag as the factory does of the same plan; the two are kept together by a test over all examples.
"""

from __future__ import annotations

import builtins
import datetime as dt
import json
import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.dags.plan import RERUN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.dags.plan import DagPlan, TaskPlan

#: Columns of the Python file.
WIDTH = 100
_INDENT = "    "
#: Names of airflow.sdk that may be imported.
_SDK = (
    "DAG", "Asset", "AsyncCallback", "CronTriggerTimetable", "DeadlineAlert", "DeadlineReference",
    "DeltaTriggerTimetable", "Param", "TriggerRule",
)  # fmt: skip


class Code(str):
    """A Python expression, as against a value to be written as a literal."""

    __slots__ = ()


@dataclass(frozen=True)
class Call:
    """A call, which is broken into lines where it does not fit one.

    Attributes:
        name: what is called.
        arguments: values by name; by position where the name is empty; `**` for a mapping of the rest.
    """

    name: str
    arguments: Sequence[tuple[str, Any]]

    def flat(self) -> str:
        """All on one line."""
        return f"{self.name}({', '.join(before(name) + _flat(value) for name, value in self.arguments)})"


def before(name: str) -> str:
    """What stands before an argument's value."""
    return name if name in ("", "**") else f"{name}="


def python(plans: Sequence[DagPlan], source: str) -> str:
    """The text of a Dag file.

    Args:
        plans: its Dags.
        source: name of the file that they come from, for the first line.
    """
    writer = _Writer()
    bodies = [writer.dag(plan) for plan in plans]
    lines = [f'"""The pipelines of {json.dumps(source, ensure_ascii=False)[1:-1]}, as Airflow code."""', ""]
    lines += writer.imports()
    for body in bodies:
        lines += ["", *body]
    return "\n".join(lines) + "\n"


def literal(value: Any, indent: int = 0, prefix: int = 0) -> str:
    """A plain value as Python, on one line if it fits there.

    Args:
        value: of texts, numbers, booleans, None, lists and dicts; or `Code` or a `Call`.
        indent: columns before the lines that follow the first.
        prefix: columns that are taken on the first line.
    """
    if isinstance(value, str) and not isinstance(value, Code) and "\n" in value:
        pad = " " * (indent + 4)
        parts = "\n".join(f"{pad}{_text(line)}" for line in value.splitlines(keepends=True))
        return f"(\n{parts}\n{' ' * indent})"
    flat = _flat(value)
    if len(flat) + prefix <= WIDTH or not isinstance(value, list | dict | Call) or not value:
        return flat
    pad = " " * (indent + 4)
    if isinstance(value, Call):
        left, right = f"{value.name}(", ")"
        items = [(before(name), item) for name, item in value.arguments]
    elif isinstance(value, dict):
        left, right = "{", "}"
        items = [(f"{_text(key)}: ", item) for key, item in value.items()]
    else:
        left, right = "[", "]"
        items = [("", item) for item in value]
    lines = [f"{pad}{name}{literal(item, indent + 4, indent + 5 + len(name))}," for name, item in items]
    return "\n".join([left, *lines, " " * indent + right])


def _flat(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Call):
        return value.flat()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(_flat(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {_flat(item)}' for key, item in value.items())}}}"
    return repr(value)


def _text(value: Any) -> str:
    # JSON's escapes are Python's too, but for characters beyond the Basic Multilingual Plane: those stay as they are.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f") if isinstance(value, str) else repr(value)


class _Writer:
    """Writes Dags, and remembers what they import."""

    def __init__(self) -> None:
        self._sdk: set[str] = {"DAG"}
        self._modules: set[str] = set()
        self._from: dict[str, str] = {}
        self._names: set[str] = set()

    def imports(self) -> list[str]:
        """The lines before the Dags, in isort's order."""
        by_module: dict[str, set[str]] = {"airflow.sdk": self._sdk}
        for name, module in self._from.items():
            by_module.setdefault(module, set()).add(name)
        standard = ["import datetime", ""] if "datetime" in self._modules else []
        plain = [f"import {module}" for module in sorted(self._modules - {"datetime"})]
        return [*standard, *plain, *(_from(module, names) for module, names in sorted(by_module.items()))]

    def dag(self, plan: DagPlan) -> list[str]:
        self._names = {*dir(builtins), *_SDK, "airflow", "airflow_batchemr", "dag", "datetime", "pendulum"}
        self._names |= {task.operator.rpartition(".")[2] for task in plan.tasks}
        words = plan.dag_kwargs
        arguments: dict[str, Any] = {
            "schedule": self._schedule(words["schedule"], words["timezone"]),
            **{
                name: self._moment(words[name], words["timezone"])
                for name in ("start_date", "end_date")
                if name in words
            },
            **{n: words[n] for n in ("catchup", "max_active_runs", "tags", "description", "doc_md") if n in words},
            **self._callbacks(words.get("notify", ()), "run"),
        }
        if "deadline" in words:
            arguments["deadline"] = self._deadline(plan.dag_id, words["deadline"], words.get("notify", ()))
        params = {name: self._param(schema) for name, schema in words["params"].items() if name != RERUN}
        if params:
            arguments["params"] = params
        lines = [
            f"with DAG(\n{_INDENT}{_text(plan.dag_id)},",
            *_arguments(arguments, 4),
            ") as dag:",
        ]
        names = {task.task_id: self._name(task.task_id) for task in plan.tasks}
        for task in plan.tasks:
            lines += self._task(task, names[task.task_id], words.get("owner"))
        edges = []
        for task in plan.tasks:
            upstream = [names[name] for name in task.upstream]
            if upstream:
                left = upstream[0] if len(upstream) == 1 else f"[{', '.join(upstream)}]"
                edges.append(f"{_INDENT}{left} >> {names[task.task_id]}")
            if task.setup:
                edges.append(f"{_INDENT}{names[task.task_id]}.as_setup()")
            if task.teardown_of:
                name = names[task.task_id]
                fails_run = ", on_failure_fail_dagrun=True" if task.fails_run else ""
                edges.append(f"{_INDENT}{name}.as_teardown(setups={names[task.teardown_of]}{fails_run})")
                rule = f"{self._of_sdk('TriggerRule')}.{task.trigger_rule.upper()}"
                edges.append(f"{_INDENT}{name}.trigger_rule = {rule}")
        rerun = f'{_INDENT}dag.params["{RERUN}"] = '
        rerun += literal(self._param(words["params"][RERUN]), len(_INDENT), len(rerun))
        return [*lines, *([""] if edges else []), *edges, "", rerun]

    def _task(self, task: TaskPlan, name: str, owner: str | None) -> list[str]:
        module, _, operator = task.operator.rpartition(".")
        kwargs = dict(task.kwargs)
        for side in ("inlets", "outlets"):
            if side in kwargs:
                kwargs[side] = [Code(f"{self._of_sdk('Asset')}({_text(uri)})") for uri in kwargs[side]]
        if isinstance(kwargs.get("execution_timeout"), int | float):
            kwargs["execution_timeout"] = Code(self._seconds(kwargs["execution_timeout"]))
        arguments = {"task_id": task.task_id, **kwargs, **self._callbacks(kwargs.pop("notify", ()), "job")}
        arguments.pop("notify", None)
        if owner:
            arguments.setdefault("owner", owner)
        if not task.teardown_of and task.trigger_rule != "all_success":
            arguments["trigger_rule"] = task.trigger_rule
        called = self._import(module, operator)
        unnamed = {key: value for key, value in arguments.items() if not key.isidentifier() or keyword.iskeyword(key)}
        named = {key: value for key, value in arguments.items() if key not in unnamed}
        lines = [f"{_INDENT}{name} = {called}(", *_arguments(named, 8)]
        if unnamed:
            lines.append(f"{_INDENT * 2}**{literal(unnamed, 8, 10)},")
        return [*lines, f"{_INDENT})"]

    def _schedule(self, words: Mapping[str, Any] | None, timezone: str) -> Any:
        if not words:
            return None
        if words.get("cron") in ("@once", "@continuous"):
            return words["cron"]
        if "cron" in words:
            name = self._of_sdk("CronTriggerTimetable")
            return Code(f"{name}({_text(words['cron'])}, timezone={_text(timezone)})")
        if "every" in words:
            return Code(f"{self._of_sdk('DeltaTriggerTimetable')}({self._seconds(words['every'])})")
        if "continuous" in words:
            return "@continuous"
        if "timetable" in words:
            module, _, name = words["timetable"].rpartition(".")
            given = ", ".join(f"{key}={_flat(value)}" for key, value in words.get("with", {}).items())
            return Code(f"{self._import(module, name)}({given})")
        return Code(self._assets(words["after_assets"]))

    def _assets(self, words: Mapping[str, Any] | str) -> str:
        if isinstance(words, str):
            return f"{self._of_sdk('Asset')}({_text(words)})"
        sign, parts = (" & ", words["all"]) if words.get("all") else (" | ", words["any"])
        texts = [self._assets(part) for part in parts]
        return texts[0] if len(texts) == 1 else f"({sign.join(texts)})"

    def _moment(self, text: str, timezone: str) -> Code:
        self._modules.add("pendulum")
        if dt.datetime.fromisoformat(text).tzinfo:
            return Code(f"pendulum.parse({_text(text)})")
        return Code(f"pendulum.parse({_text(text)}, tz={_text(timezone)})")

    def _param(self, schema: Mapping[str, Any]) -> Call:
        words = dict(schema)
        given = [("", words.pop("default"))] if "default" in words else []
        return Call(self._of_sdk("Param"), [*given, *words.items()])

    def _callbacks(self, receivers: Sequence[Mapping[str, Any]], of: str) -> dict[str, Any]:
        if not receivers:
            return {}
        name = self._import("airflow_batchemr.notifiers.pipeline", "PipelineNotifier")

        def notifier(receiver: Mapping[str, Any], *, failed: bool) -> Call:
            words = {"failed": failed, "of": of, **receiver}
            unnamed = [("**", {"with": words.pop("with")})] if "with" in words else []
            return Call(name, [*words.items(), *unnamed])

        made: dict[str, Any] = {"on_failure_callback": [notifier(receiver, failed=True) for receiver in receivers]}
        good = [notifier(receiver, failed=False) for receiver in receivers if receiver["when"] != "on_failure"]
        return made | ({"on_success_callback": good} if good else {})

    def _deadline(self, dag_id: str, seconds: int, receivers: Sequence[Mapping[str, Any]]) -> Call:
        told = [{name: value for name, value in one.items() if name not in ("when", "after")} for one in receivers]
        call = self._import("airflow_batchemr.notifiers.deadline", "tell_missed")
        kwargs = {"receivers": told, "dag_id": dag_id, "seconds": seconds}
        return Call(
            self._of_sdk("DeadlineAlert"),
            [
                ("reference", Code(f"{self._of_sdk('DeadlineReference')}.DAGRUN_QUEUED_AT")),
                ("interval", Code(self._seconds(seconds))),
                ("callback", Call(self._of_sdk("AsyncCallback"), [("", Code(call)), ("kwargs", kwargs)])),
            ],
        )

    def _seconds(self, seconds: float) -> str:
        self._modules.add("datetime")
        return f"datetime.timedelta(seconds={seconds})"

    def _of_sdk(self, name: str) -> str:
        self._sdk.add(name)
        return name

    def _import(self, module: str, name: str) -> str:
        """The name under which a class can be called; two modules' classes of one name keep their modules."""
        if self._from.setdefault(name, module) == module:
            return name
        self._modules.add(module)
        return f"{module}.{name}"

    def _name(self, text: str) -> str:
        """A Python name for a task that nothing else in its Dag has."""
        name = re.sub(r"\W", "_", text)
        if not name.isidentifier() or keyword.iskeyword(name):
            name = f"_{name}"
        unique, number = name, 2
        while unique in self._names or unique in self._from:
            unique, number = f"{name}_{number}", number + 1
        self._names.add(unique)
        return unique


def _from(module: str, names: set[str]) -> str:
    """An import; its names in isort's order: constants, classes, functions."""
    found = sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name.lower()))
    line = f"from {module} import {', '.join(found)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"{_INDENT}{name}," for name in found), ")"])


def _arguments(arguments: Mapping[str, Any], indent: int) -> list[str]:
    pad = " " * indent
    return [f"{pad}{name}={literal(value, indent, indent + len(name) + 2)}," for name, value in arguments.items()]
