"""Evaluate the data flow of a state machine before it runs.

Amazon States Language passes data on with paths (`$.a.b`), payload templates (`"x.$": …`) and intrinsic functions. They
are evaluated symbolically: a field of the execution's input becomes a param of the pipeline, and using a value that is
only known at run time is an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from airflow_batchemr.pipeline_file.importers.translation import literal, plain

#: A part of a path: `.name`, `['name']` or `[0]`.
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(?:'([^']*)'|\"([^\"]*)\"|(\d+))\]")
_TOKEN = re.compile(
    r"\s*(?:(States\.\w+)\s*\(|(\$\$?(?:\[[^\]]*\]|[^\s,()\[\]])*)|'((?:[^'\\]|\\.)*)'|(-?\d+(?:\.\d+)?)|(true|false|null))\s*"
)
_CONSTANTS = {"true": True, "false": False, "null": None}


#: Substitutions of CloudFormation, SAM, the CDK and Terraform, which they make when they deploy a state machine.
_SUBSTITUTION = re.compile(r"(?<!\$)\$\{(Token\[[\w.]+\]|[A-Za-z_][\w.-]*(?:::\w+)?)\}")
_SUBSTITUTED = {"AWS::Partition": "aws"}


class UntranslatableError(Exception):
    """Raised for a state that has no equivalent in a pipeline file."""


class FollowUpError(UntranslatableError):
    """Raised for a state that uses the result of a state with an error, which has been reported."""


@dataclass(frozen=True)
class Given:
    """A field of the execution's input, by its path."""

    path: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Result:
    """The result of a state."""

    state: str


@dataclass(frozen=True)
class Refused:
    """The result of a state that has no equivalent; its error has been reported."""


@dataclass(frozen=True)
class Unknown:
    """A value that cannot be known before the run, which is an error if it is used.

    Attributes:
        reason: why.
    """

    reason: str


@dataclass(frozen=True)
class Cluster:
    """The result of createCluster, by the cluster's name in the pipeline."""

    name: str


@dataclass(frozen=True)
class ClusterId:
    """The id of a cluster, by the cluster's name in the pipeline."""

    name: str


@dataclass(frozen=True)
class Template:
    """A value that Airflow knows at run time, as a Jinja expression, and what it replaces."""

    expression: str
    was: str


@dataclass(frozen=True)
class Joined:
    """A text that consists of several values."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Overlay:
    """A value with some of its fields replaced by ResultPath."""

    below: Any
    fields: dict[str, Any]


def path_steps(path: str) -> list[str | int]:
    """Split a reference path such as `$.a['b'][0]`.

    Raises:
        UntranslatableError: if it contains filters, wildcards or descents, which depend on the data.
    """
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if not match:
            raise UntranslatableError(f"the path {path} depends on data that is only known at run time")
        name = match[1] or match[2] or match[3]
        steps.append(int(match[4]) if match[4] is not None else str(name))
        at = match.end()
    return steps


def look_up(value: Any, steps: list[str | int], path: str) -> Any:
    """Get the value at a path.

    Raises:
        UntranslatableError: if there is none.
    """
    for number, step in enumerate(steps):
        if isinstance(value, Overlay):
            value = value.fields[step] if step in value.fields else look_up(value.below, [step], path)
        elif isinstance(value, Given):
            value = Given((*value.path, step))
        elif isinstance(value, Cluster):
            rest = tuple(steps[number:])
            return ClusterId(value.name) if rest in {("ClusterId",), ("Cluster", "Id")} else Result(value.name)
        elif isinstance(value, Result | Refused | Unknown):
            return value
        elif isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            raise UntranslatableError(f"{path} is not available" if path[:2] == "$$" else f"there is nothing at {path}")
    return value


def overlay(value: Any, steps: list[str | int], inner: Any) -> Any:
    """Insert `inner` at a path of a value, like ResultPath."""
    if not steps:
        return inner
    first, rest = steps[0], steps[1:]
    if not isinstance(first, str):
        raise UntranslatableError("ResultPath into a list is not supported")
    if rest:
        try:
            below = look_up(value, [first], "")
        except UntranslatableError:
            below = {}
        inner = overlay(below, rest, inner)
    if isinstance(value, dict):
        return {**value, first: inner}
    if isinstance(value, Overlay):
        return Overlay(value.below, {**value.fields, first: inner})
    return Overlay(value, {first: inner})


def payload(template: Any, value: Any, context: dict[str, Any]) -> Any:
    """Evaluate the paths and intrinsic functions of a payload template; those that cannot be known become `Unknown`.

    Args:
        template: the value of `Parameters`, `ItemSelector` or `ResultSelector`.
        value: the value of `$`.
        context: the value of `$$`.
    """
    if isinstance(template, dict):
        result = {}
        for key, item in template.items():
            if key.endswith(".$"):
                result[key[:-2]] = lazy_expression(item, value, context)
            else:
                result[key] = payload(item, value, context)
        return result
    return [payload(item, value, context) for item in template] if isinstance(template, list) else template


def lazy_expression(text: Any, value: Any, context: dict[str, Any]) -> Any:
    """Evaluate a path or an intrinsic function; `Unknown` if that is not possible."""
    try:
        return expression(constant(text, str, "a path or an intrinsic function"), value, context)
    except UntranslatableError as error:
        return Unknown(str(error))


def expression(text: str, value: Any, context: dict[str, Any]) -> Any:
    """Evaluate a path or an intrinsic function.

    Raises:
        UntranslatableError: if it is invalid, or only known at run time.
    """
    result, at = _expression(text, 0, value, context)
    if text[at:].strip():
        raise UntranslatableError(f"invalid path or intrinsic function: {text}")
    return result


def _expression(text: str, at: int, value: Any, context: dict[str, Any]) -> tuple[Any, int]:
    token = _TOKEN.match(text, at)
    if not token:
        raise UntranslatableError(f"invalid path or intrinsic function: {text}")
    function, path, quoted, number, constant = token.groups()
    at = token.end()
    if path is not None:
        where = context if path.startswith("$$") else value
        return look_up(where, path_steps(path[1:] if path.startswith("$$") else path), path), at
    if quoted is not None:
        # States.Format also has escaped braces, so that it unescapes its template itself.
        return quoted, at
    if number is not None:
        return json.loads(number), at
    if constant is not None:
        return _CONSTANTS[constant], at
    arguments: list[Any] = []
    while not text[at:].lstrip().startswith(")"):
        argument, at = _expression(text, at, value, context)
        arguments.append(argument)
        rest = text[at:].lstrip()
        if rest.startswith(","):
            at = len(text) - len(rest) + 1
        elif not rest.startswith(")"):
            raise UntranslatableError(f"invalid intrinsic function: {text}")
    at = len(text) - len(text[at:].lstrip()) + 1
    return _call(function, arguments), at


def _call(function: str, arguments: list[Any]) -> Any:
    if function == "States.Array":
        return [_unescape(item) if isinstance(item, str) else item for item in arguments]
    if function == "States.Format" and arguments and isinstance(arguments[0], str):
        return _format(arguments[0], arguments[1:])
    raise UntranslatableError(f"{function} is evaluated at run time and is not supported in a pipeline file")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _format(template: str, arguments: list[Any]) -> Joined:
    pieces = re.split(r"((?:\\.|[^{}\\])+|\{\})", template)
    parts: list[Any] = []
    rest = list(arguments)
    for piece in pieces:
        if piece != "{}":
            new: tuple[Any, ...] = (_unescape(piece),)
        elif rest:
            argument = rest.pop(0)
            new = argument.parts if isinstance(argument, Joined) else (_constant_text(argument),)
        else:
            raise UntranslatableError(f"States.Format has too few arguments for {template!r}")
        for part in new:
            # Adjoining texts are one, because they may contain a substitution
            if parts and isinstance(part, str) and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
    if rest:
        raise UntranslatableError(f"States.Format has too many arguments for {template!r}")
    return Joined(tuple(parts) or ("",))


def _constant_text(value: Any) -> Any:
    if isinstance(value, str):
        return _unescape(value)
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else value


class Writer:
    """Writes values as text of a pipeline file.

    Attributes:
        params: the params that the texts use, with their names in the execution's input.
        variables: the variables that the texts use, with the substitutions that they replace.
        replaced: the values of the context object that the texts use, with the templates that replace them.
    """

    def __init__(self) -> None:
        self.params: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.replaced: dict[str, str] = {}

    def text(self, value: Any, what: str) -> str:
        """Write a value as text; values that are only known at run time become Airflow templates.

        Raises:
            UntranslatableError: if Airflow does not know the value.
        """
        if isinstance(value, str):
            return self.literal(value)
        if isinstance(value, bool | int | float):
            return json.dumps(value)
        if isinstance(value, Joined):
            return "".join([self._part(part, what) for part in value.parts[:-1]] + [self.text(value.parts[-1], what)])
        if isinstance(value, Given):
            return f"{{{{ {self._param(value, what)} }}}}"
        if isinstance(value, Template):
            return self.replaced.setdefault(value.was, f"{{{{ {value.expression} }}}}")
        _check_known(value, what)
        if isinstance(value, ClusterId):
            raise UntranslatableError(
                f"{what}: a cluster id cannot be inserted into text; jobs find it in EMR_CLUSTER_ID"
            )
        if isinstance(value, Result | Cluster):
            name = value.state if isinstance(value, Result) else value.name
            raise UntranslatableError(
                f"{what}: the result of {name} is not available to other jobs; pass data between jobs through S3"
            )
        raise UntranslatableError(f"{what}: expected text, not {json.dumps(value, default=str)[:60]}")

    def _part(self, part: Any, what: str) -> str:
        if not isinstance(part, str) or not part.endswith(("{", "$")):
            return self.text(part, what)
        # A template follows: `{` or `$` before it would be part of its start, or the start of a variable
        kept = part.rstrip("{$")
        return f"{self.literal(kept)}{{{{ '{plain(part[len(kept) :])}' }}}}"

    def number(self, value: Any, kind: type | tuple[type, ...], what: str) -> Any:
        """A number or boolean, or its template.

        Raises:
            UntranslatableError: if Airflow does not know the value, or it has another type.
        """
        return self.text(value, what) if isinstance(value, Given | Result | Cluster) else constant(value, kind, what)

    def literal(self, text: str) -> str:
        """Write text that is passed on unchanged, with a variable for each substitution.

        Raises:
            UntranslatableError: if it is a list of the CDK, which has no place in a text.
        """
        if "#{Token[" in text:
            raise UntranslatableError(f"{text} is a token of the CDK: synthesize the state machine and import that")
        parts = _SUBSTITUTION.split(text)
        return "".join(
            f"${{{self._variable(part)}}}" if number % 2 else literal(part) for number, part in enumerate(parts)
        )

    def _variable(self, substitution: str) -> str:
        name = re.sub(r"\W+", "_", substitution).strip("_")
        name = _unique(f"_{name}" if name[:1].isdigit() else name, substitution, self.variables)
        self.variables[name] = substitution
        return name

    def _param(self, value: Given, what: str) -> str:
        if not value.path:
            raise UntranslatableError(f"{what}: the whole input cannot be inserted into text")
        first, *rest = value.path
        name = re.sub(r"\W", "_", str(first))
        if not name.isidentifier() or name == "rerun":
            name = f"input_{name}"
        name = _unique(name, str(first), self.params)
        self.params[name] = str(first)
        # Item access: `params.values` is a method in Jinja, and so are items, keys, get, …
        return f"params{''.join(f'[{step!r}]' for step in (name, *rest))}"


def _unique(name: str, source: str, known: dict[str, str]) -> str:
    """The name for a source; with a number if another source has the name."""
    unique, number = name, 2
    while known.get(unique, source) != source:
        unique, number = f"{name}_{number}", number + 1
    return unique


def variable_value(substitution: str) -> str:
    """The value of a variable until the user sets it: the substitution itself, as in the state machine."""
    return _SUBSTITUTED.get(substitution, f"$${{{substitution}}}")


def constant(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """Check that a value is a constant of a type.

    Raises:
        UntranslatableError: if it is not.
    """
    _check_known(value, what)
    if isinstance(value, Given | Result | Cluster | ClusterId | Template | Joined | Overlay):
        raise UntranslatableError(f"{what} is only known at run time, but must be constant")
    large = isinstance(value, int) and abs(value) >= 2**63  # YAML has no larger numbers
    if large or not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UntranslatableError(f"{what} has an unexpected value: {json.dumps(value, default=str)[:60]}")
    return value


def _check_known(value: Any, what: str) -> None:
    if isinstance(value, Refused):
        raise FollowUpError
    if isinstance(value, Unknown):
        raise UntranslatableError(f"{what}: {value.reason}")
