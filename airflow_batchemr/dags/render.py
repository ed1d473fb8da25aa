"""Render a plan as the Python code that an Airflow user would write by hand (`batchemr render`).

The code builds the same Dag as `build.build_dag` does; a test compares the two for all examples.
"""

from __future__ import annotations

import builtins
import datetime as dt
import json
import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.foreign_text import escaped
from airflow_batchemr.dags.plan import RERUN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.dags.plan import DagPlan, TaskPlan

#: Line length of the Python file.
WIDTH = 100
_INDENT = "    "
#: Names that may be imported from airflow.sdk.
_SDK = (
    "DAG", "Asset", "AsyncCallback", "CronTriggerTimetable", "DeadlineAlert", "DeadlineReference",
    "DeltaTriggerTimetable", "Param", "TriggerRule",
)  # fmt: skip


class Code(str):
    """A Python expression, as opposed to a string literal."""

    __slots__ = ()


@dataclass(frozen=True)
class Call:
    """A call, wrapped if it does not fit on one line.

    Attributes:
        name: Callee.
        arguments: (name, value) pairs. An empty name is a positional argument; `**` unpacks a mapping.
    """

    name: str
    arguments: Sequence[tuple[str, Any]]

    def flat(self) -> str:
        """Return the call on one line."""
        return f"{self.name}({', '.join(argument_prefix(name) + _flat(value) for name, value in self.arguments)})"


def argument_prefix(name: str) -> str:
    """Return the text before the value of an argument."""
    return name if name in ("", "**") else f"{name}="


def python(plans: Sequence[DagPlan], source: str) -> str:
    """Return the text of a Dag file.

    Args:
        plans: Dags of the file.
        source: Name of the pipeline file, for the module docstring.
    """
    writer = _Writer()
    bodies = [writer.dag(plan) for plan in plans]
    lines = [f'"""The pipelines of {_text(source)[1:-1]}, as Airflow code."""', ""]
    lines += writer.imports()
    for body in bodies:
        lines += ["", *body]
    return "\n".join(lines) + "\n"


def literal(value: Any, indent: int = 0, prefix: int = 0) -> str:
    """Return a value as Python source, on one line if it fits.

    Args:
        value: Strings, numbers, booleans, None, lists and dicts, or `Code` or a `Call`.
        indent: Indentation of the lines after the first.
        prefix: Columns already used on the first line.
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
        items = [(argument_prefix(name), item) for name, item in value.arguments]
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
    # JSON and Python share escapes except for characters beyond the Basic Multilingual Plane; those are not escaped.
    return escaped(json.dumps(value, ensure_ascii=False)) if isinstance(value, str) else repr(value)


class _Writer:
    """Writes Dags and collects their imports."""

    def __init__(self) -> None:
        self._sdk: set[str] = {"DAG"}
        self._modules: set[str] = set()
        self._from: dict[str, str] = {}
        self._names: set[str] = set()

    def imports(self) -> list[str]:
        """Return the import lines in isort's order."""
        by_module: dict[str, set[str]] = {"airflow.sdk": self._sdk}
        for name, module in self._from.items():
            by_module.setdefault(module, set()).add(name)
        standard = ["import datetime", ""] if "datetime" in self._modules else []
        plain = [f"import {module}" for module in sorted(self._modules - {"datetime"})]
        return [*standard, *plain, *(_from(module, names) for module, names in sorted(by_module.items()))]

    def dag(self, plan: DagPlan) -> list[str]:
        self._names = {*dir(builtins), *_SDK, "airflow", "airflow_batchemr", "dag", "datetime", "pendulum"}
        self._names |= {task.operator.rpartition(".")[2] for task in plan.tasks}
        options = plan.dag_kwargs
        plain = ("catchup", "max_active_runs", "tags", "description", "doc_md")
        arguments: dict[str, Any] = {
            "schedule": self._schedule(options["schedule"], options["timezone"]),
            **{
                name: self._date(options[name], options["timezone"])
                for name in ("start_date", "end_date")
                if name in options
            },
            **{name: options[name] for name in plain if name in options},
            **self._callbacks(options.get("notify", ()), "run"),
        }
        if "deadline" in options:
            arguments["deadline"] = self._deadline(plan.dag_id, options["deadline"], options.get("notify", ()))
        params = {name: self._param(schema) for name, schema in options["params"].items() if name != RERUN}
        if params:
            arguments["params"] = params
        lines = [
            f"with DAG(\n{_INDENT}{_text(plan.dag_id)},",
            *_arguments(arguments, 4),
            ") as dag:",
        ]
        names = {task.task_id: self._name(task.task_id) for task in plan.tasks}
        for task in plan.tasks:
            lines += self._task(task, names[task.task_id], options.get("owner"))
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
                rule = f"{self._from_sdk('TriggerRule')}.{task.trigger_rule.upper()}"
                edges.append(f"{_INDENT}{name}.trigger_rule = {rule}")
        rerun = f'{_INDENT}dag.params["{RERUN}"] = '
        rerun += literal(self._param(options["params"][RERUN]), len(_INDENT), len(rerun))
        return [*lines, *([""] if edges else []), *edges, "", rerun]

    def _task(self, task: TaskPlan, name: str, owner: str | None) -> list[str]:
        module, _, operator = task.operator.rpartition(".")
        kwargs = dict(task.kwargs)
        for side in ("inlets", "outlets"):
            if side in kwargs:
                kwargs[side] = [Code(f"{self._from_sdk('Asset')}({_text(uri)})") for uri in kwargs[side]]
        if isinstance(kwargs.get("execution_timeout"), int | float):
            kwargs["execution_timeout"] = Code(self._seconds(kwargs["execution_timeout"]))
        arguments = {"task_id": task.task_id, **kwargs, **self._callbacks(kwargs.pop("notify", ()), "job")}
        arguments.pop("notify", None)
        if owner:
            arguments.setdefault("owner", owner)
        if not task.teardown_of and task.trigger_rule != "all_success":
            arguments["trigger_rule"] = task.trigger_rule
        callee = self._import(module, operator)
        unnamed = {key: value for key, value in arguments.items() if not key.isidentifier() or keyword.iskeyword(key)}
        named = {key: value for key, value in arguments.items() if key not in unnamed}
        lines = [f"{_INDENT}{name} = {callee}(", *_arguments(named, 8)]
        if unnamed:
            lines.append(f"{_INDENT * 2}**{literal(unnamed, 8, 10)},")
        return [*lines, f"{_INDENT})"]

    def _schedule(self, options: Mapping[str, Any] | None, timezone: str) -> Any:
        if not options:
            return None
        if options.get("cron") in ("@once", "@continuous"):
            return options["cron"]
        if "cron" in options:
            name = self._from_sdk("CronTriggerTimetable")
            return Code(f"{name}({_text(options['cron'])}, timezone={_text(timezone)})")
        if "every" in options:
            return Code(f"{self._from_sdk('DeltaTriggerTimetable')}({self._seconds(options['every'])})")
        if "continuous" in options:
            return "@continuous"
        if "timetable" in options:
            module, _, name = options["timetable"].rpartition(".")
            arguments = ", ".join(f"{key}={_flat(value)}" for key, value in options.get("with", {}).items())
            return Code(f"{self._import(module, name)}({arguments})")
        return Code(self._assets(options["after_assets"]))

    def _assets(self, condition: Mapping[str, Any] | str) -> str:
        if isinstance(condition, str):
            return f"{self._from_sdk('Asset')}({_text(condition)})"
        sign, parts = (" & ", condition["all"]) if condition.get("all") else (" | ", condition["any"])
        texts = [self._assets(part) for part in parts]
        return texts[0] if len(texts) == 1 else f"({sign.join(texts)})"

    def _date(self, text: str, timezone: str) -> Code:
        self._modules.add("pendulum")
        if dt.datetime.fromisoformat(text).tzinfo:
            return Code(f"pendulum.parse({_text(text)})")
        return Code(f"pendulum.parse({_text(text)}, tz={_text(timezone)})")

    def _param(self, schema: Mapping[str, Any]) -> Call:
        options = dict(schema)
        default = [("", options.pop("default"))] if "default" in options else []
        return Call(self._from_sdk("Param"), [*default, *options.items()])

    def _callbacks(self, receivers: Sequence[Mapping[str, Any]], of: str) -> dict[str, Any]:
        if not receivers:
            return {}
        name = self._import("airflow_batchemr.notifiers.pipeline", "PipelineNotifier")

        def notifier(receiver: Mapping[str, Any], *, failed: bool) -> Call:
            options = {"failed": failed, "of": of, **receiver}
            unnamed = [("**", {"with": options.pop("with")})] if "with" in options else []
            return Call(name, [*options.items(), *unnamed])

        found: dict[str, Any] = {"on_failure_callback": [notifier(receiver, failed=True) for receiver in receivers]}
        on_success = [notifier(receiver, failed=False) for receiver in receivers if receiver["when"] != "on_failure"]
        return found | ({"on_success_callback": on_success} if on_success else {})

    def _deadline(self, dag_id: str, seconds: int, receivers: Sequence[Mapping[str, Any]]) -> Call:
        notified = [{name: value for name, value in one.items() if name not in ("when", "after")} for one in receivers]
        call = self._import("airflow_batchemr.notifiers.deadline", "notify_missed_deadline")
        kwargs = {"receivers": notified, "dag_id": dag_id, "seconds": seconds}
        return Call(
            self._from_sdk("DeadlineAlert"),
            [
                ("reference", Code(f"{self._from_sdk('DeadlineReference')}.DAGRUN_QUEUED_AT")),
                ("interval", Code(self._seconds(seconds))),
                ("callback", Call(self._from_sdk("AsyncCallback"), [("", Code(call)), ("kwargs", kwargs)])),
            ],
        )

    def _seconds(self, seconds: float) -> str:
        self._modules.add("datetime")
        return f"datetime.timedelta(seconds={seconds})"

    def _from_sdk(self, name: str) -> str:
        self._sdk.add(name)
        return name

    def _import(self, module: str, name: str) -> str:
        """Import a name. If another module already provides that name, return it qualified by its module."""
        if self._from.setdefault(name, module) == module:
            return name
        self._modules.add(module)
        return f"{module}.{name}"

    def _name(self, text: str) -> str:
        """Return a Python variable name for a task that is unique in its Dag."""
        name = re.sub(r"\W", "_", text)
        if not name.isidentifier() or keyword.iskeyword(name):
            name = f"_{name}"
        unique, number = name, 2
        while unique in self._names or unique in self._from:
            unique, number = f"{name}_{number}", number + 1
        self._names.add(unique)
        return unique


def _from(module: str, names: set[str]) -> str:
    """Return an import statement with names in isort's order: constants, classes, functions."""
    found = sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name.lower()))
    line = f"from {module} import {', '.join(found)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"{_INDENT}{name}," for name in found), ")"])


def _arguments(arguments: Mapping[str, Any], indent: int) -> list[str]:
    pad = " " * indent
    return [f"{pad}{name}={literal(value, indent, indent + len(name) + 2)}," for name, value in arguments.items()]
