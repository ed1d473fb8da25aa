"""Templates inside code: what they render to is executed, although a param, or data, was meant to be a value.

Only text that somebody else runs as code is reported: the script of `sh -c`, of other interpreters and of Airflow's
BashOperator, and text that Hive inserts into queries. Arguments after a script are values.
"""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.checks.patterns import names_characters
from airflow_batchemr.pipeline_file.checks.templates import names_in
from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.command import split_command
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_batchemr.pipeline_file.validation import Keys


@dataclass(frozen=True)
class _Interpreter:
    """How a program takes code as an argument.

    Attributes:
        name: regular expression of its name.
        code: short options that code follows. Code may be attached to them, except in shells.
        value: short options that another value follows.
        long: long options that code follows.
        is_shell: several short options share one argument, such as `-euo pipefail -c`.
        first: without such an option, the first argument is code.
        anywhere: other arguments may precede the option.
    """

    name: str
    code: str = ""
    value: str = ""
    long: tuple[str, ...] = ()
    is_shell: bool = False
    first: bool = False
    anywhere: bool = False


_INTERPRETERS = (
    _Interpreter(r"(ba|rba|da|k|pdk|mk|z|a|c|tc|fi|pw|xon|ya)?sh", "c", "oO", ("--command",), is_shell=True),
    _Interpreter(r"su|runuser|flock", "c", "", ("--command",), anywhere=True),
    _Interpreter(r"env", "S", "uC", ("--split-string",)),
    _Interpreter(r"(python|pypy)[\d.]*", "c", "WX"),
    _Interpreter(r"perl[\d.]*", "eE", "I"),
    _Interpreter(r"ruby[\d.]*", "e", "rI"),
    _Interpreter(r"node|nodejs|bun", "ep", "r", ("--eval", "--print")),
    _Interpreter(r"php[\d.]*", "r", "d"),
    _Interpreter(r"lua[\d.]*|luajit|Rscript|R", "e"),
    _Interpreter(r"[gmn]?awk", "e", "Fvf", ("--source",), first=True),
    _Interpreter(r"g?sed", "e", "f", ("--expression",), first=True),
)
#: Options of bash that the name of a file follows.
_WITH_FILE = ("--rcfile", "--init-file")
#: Options of Hive whose value becomes part of queries.
_HIVE = re.compile(r"-d|-e|--define|--?hivevar|--?hiveconf")
_ATTACHED = re.compile(r"-[de]\w|--(define|hivevar|hiveconf)=")
#: What the hints recommend; see `_restricted`.
_RESTRICTION = "`enum`, or `type: string` with a `pattern` such as `^[a-z0-9]+$`"
#: Text without these has nothing that is replaced later.
_MARK = re.compile(r"\{[{%]|Ref::")
#: Properties of Spark that YARN writes into a script, or that are options of Java.
_CONF = re.compile(r"^spark\.(yarn\.appMasterEnv|executorEnv)\.|JavaOptions$|\.extra(LibraryPath|ClassPath)$")
#: Context variables that nobody who triggers a run can choose: dates, names in the Dag's file, and what operators of
#: Airflow set. A run id can be chosen, but has no characters that a shell knows (`[scheduler] allowed_run_id_pattern`).
_HARMLESS = re.compile(
    r"(prev_)?(data_interval_\w+|(start|end)_date\w*|ds\w*|ts\w*|logical_date)|macros|dag|task|var|conn|run_id"
)


def code(data: Mapping[str, Any], keys: Sequence[str], params: object = None) -> Iterator[Problem]:
    """Warn about templates inside code.

    Args:
        data: the values of a job or pipeline as written, with variables substituted.
        keys: keys of the values that are rendered.
        params: the pipeline's `params` as written.
    """
    batch = data.get("batch")
    submit = batch.get("submit") if isinstance(batch, dict) else None
    parameters: dict[str, Any] = {}
    for part in (batch, submit):
        if isinstance(part, dict) and isinstance(part.get("parameters"), dict):
            parameters |= part["parameters"]
    for key in (*keys, "with") if "operator" in data else keys:
        for argv, places in _commands(data.get(key), (key,)):
            if not any(map(_MARK.search, argv)):
                continue
            for position in _scripts(argv):
                if shown := _dynamic(argv[position], parameters):
                    yield _warning(argv, position, places, shown)
            for position in _queries(argv, places):
                if shown := _chosen(argv[position], params):
                    message = f"Hive inserts the text of {shown} into queries: a value such as `'; DROP …` changes them"
                    hint = f"restrict the values of the param: give it an {_RESTRICTION}, or `type: integer`"
                    yield Problem(places[position], message, hint, "warning")
            for position in _in_cluster_mode(argv):
                if shown := _chosen(argv[position], params):
                    message = (
                        f"in cluster mode, a shell of YARN runs code in {shown}: a value such as `` a`id` `` runs `id`"
                    )
                    hint = "write a `spark:` step, which refuses such values, or pass the value in the `env:` of one"
                    yield Problem(places[position], message, hint, "warning")
        yield from _spark(data.get(key), (key,), params)
    with_ = data.get("with")
    script = with_.get("bash_command") if "operator" in data and isinstance(with_, dict) else None
    if isinstance(script, str) and (shown := _chosen(script, params)):
        message = f"the shell runs the text of {shown} as code: a value such as `a; id` runs `id` on the worker"
        hint = 'put the template in the operator\'s `env:` (with `append_env: true`) and use "$NAME" in the script'
        yield Problem(("with", "bash_command"), message, hint, "warning")


def _spark(value: Any, at: Keys, params: object) -> Iterator[Problem]:
    """Warn about Spark properties that become shell text or options, and about lists that a comma extends."""
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _spark(item, (*at, position), params)
    if not isinstance(value, dict):
        return
    if at[-1] != "spark":
        yield from _spark(value.get("spark"), (*at, "spark"), params)
        return
    conf = value.get("conf")
    for name, text in conf.items() if isinstance(conf, dict) else ():
        if _CONF.search(str(name)) and (shown := _chosen(str(text), params)):
            message = f"{shown} in `{name}` may contain code or further options: the shell or the JVM reads it"
            hint = f"pass it as an argument of the application, or in `env:`, or give the param an {_RESTRICTION}"
            yield Problem((*at, "conf", name), message, hint, "warning")
    for key in ("packages", "jars", "py_files", "files", "archives"):
        items = value.get(key)
        for position, text in enumerate(items if isinstance(items, list) else [items]):
            if shown := _chosen(str(text), params):
                place = (*at, key, position) if isinstance(items, list) else (*at, key)
                message = f"spark-submit takes text after a comma in {shown} as another entry of `{key}`"
                yield Problem(place, message, f"give the param an {_RESTRICTION}, without commas", "warning")


def _warning(argv: Sequence[str], position: int, places: Sequence[Keys], shown: str) -> Problem:
    name = next(name for one in reversed(argv[:position] or argv[:1]) if _interpreter(name := posixpath.basename(one)))
    if _interpreter(name).is_shell:  # type: ignore[union-attr]
        message = f"`{name}` runs the text of {shown} as code: a value such as `a; id` runs `id`"
        hint = 'put the template in `env:` and use "$NAME" in the script, or add it as an argument after the script'
    else:
        message = f"`{name}` runs the text of {shown} as code"
        hint = "put the template in `env:` and read that variable in the code, or pass it as a separate argument"
    return Problem(places[position], message, hint, "warning")


def _commands(value: Any, at: Keys) -> Iterator[tuple[list[str], list[Keys]]]:
    """All commands in a value, as arguments and their paths: text commands, and every list of scalars."""
    if isinstance(value, str):
        if _MARK.search(value) and (at[-1] in ("command", "steps") or at[-2:-1] == ("steps",)):
            try:
                argv = split_command(value)
            except Refusal:  # reported by the model
                return
            yield argv, [at] * len(argv)
    elif isinstance(value, dict):
        parts = [(key, value[key]) for key in ("command", "cmds", "args", "arguments") if _is_argv(value.get(key))]
        if len(parts) > 1:  # of a container in Kubernetes' form
            argv = [str(item) for _, items in parts for item in items]
            yield argv, [(*at, key, position) for key, items in parts for position in range(len(items))]
        for key, item in value.items():
            if len(parts) < 2 or key not in dict(parts):
                yield from _commands(item, (*at, key))
    elif isinstance(value, list):
        if _is_argv(value) and at[-1] != "steps":
            yield [str(item) for item in value], [(*at, position) for position in range(len(value))]
        else:
            for position, item in enumerate(value):
                yield from _commands(item, (*at, position))


def _is_argv(value: object) -> bool:
    return isinstance(value, list) and bool(value) and not any(isinstance(item, dict | list) for item in value)


def _queries(argv: Sequence[str], places: Sequence[Keys]) -> Iterator[int]:
    """Positions of the arguments that Hive inserts into queries: of a `hive` step, or of a command that runs it."""
    start = 0 if places[0][-3:-1] == ("hive", "args") else len(argv)
    for at in range(start, len(argv)) if not start else _after_clients(argv):
        if _ATTACHED.match(argv[at]) or (at and _HIVE.fullmatch(argv[at - 1])):
            yield at


def _in_cluster_mode(argv: Sequence[str]) -> Iterator[int]:
    """Positions of the arguments of spark-submit from which YARN makes a script: those in cluster mode."""
    for start, one in enumerate(argv):
        if posixpath.basename(one) == "spark-submit":
            options = " ".join(argv[start:])
            if re.search(r"--deploy-mode[ =]cluster\b|spark\.submit\.deployMode=cluster\b", options):
                yield from range(start + 1, len(argv))
            return


def _after_clients(argv: Sequence[str]) -> range:
    clients = [at for at, one in enumerate(argv) if posixpath.basename(one) in ("hive", "beeline", "spark-sql")]
    return range(clients[0] + 1 if clients else len(argv), len(argv))


@functools.lru_cache(maxsize=1024)
def _interpreter(name: str) -> _Interpreter | None:
    return next((one for one in _INTERPRETERS if re.fullmatch(one.name, name)), None)


def _scripts(argv: Sequence[str]) -> Iterator[int]:
    """Positions of the arguments that an interpreter reads as code, also behind `env`, `timeout` or `exec`."""
    at = 0
    while at < len(argv):
        interpreter = _interpreter(posixpath.basename(argv[at]))
        at += 1
        if interpreter is None:
            continue
        found, at = _options(interpreter, argv, at)
        yield from found
        if found and interpreter.is_shell:
            at += 1  # the script's `$0`


def _options(interpreter: _Interpreter, argv: Sequence[str], at: int) -> tuple[list[int], int]:
    """Positions of the code in the arguments of an interpreter from `at` on, and of the argument after its options."""
    found: list[int] = []
    script = from_file = False
    while at < len(argv):
        option = argv[at]
        if option[:1] not in ("-", "+") and interpreter.anywhere:
            at += 1
            continue
        if option[:1] not in ("-", "+"):
            break
        at += 1
        if option in ("-", "--"):
            if interpreter.anywhere:
                continue
            break
        name, equals, _ = option.partition("=")
        if name.startswith("--"):
            found += [at - 1 if equals else at] if name in interpreter.long else []
            at += not equals and name in (*interpreter.long, *_WITH_FILE)
            continue
        for number, letter in enumerate(option[1:], 2):
            if interpreter.is_shell:
                script = script or letter in interpreter.code
                at += letter in interpreter.value
            elif letter in interpreter.code + interpreter.value:
                attached = number < len(option)
                found += [at - attached] if letter in interpreter.code else []
                from_file = from_file or letter == "f"
                at += not attached
                break
    if script or (interpreter.first and not found and not from_file):
        found.append(at)
        at += 1
    return [position for position in found if position < len(argv)], at


def _dynamic(text: str, parameters: Mapping[str, Any]) -> str | None:
    """Describe the template in code: of the text itself, or of one of Batch's parameters, which Batch inserts."""
    if names_in(text):
        return _first(text)
    inserted = (name for name in re.findall(r"Ref::([\w.-]+)", text) if names_in(str(parameters.get(name, ""))))
    return next((f"`Ref::{name}`" for name in inserted), None)


def _chosen(text: str, params: object) -> str | None:
    """Describe the template in a text if somebody else than the author chooses its value."""
    free = [name for name in names_in(text) if not _HARMLESS.fullmatch(name)]
    used = set(re.findall(r"\bparams\s*(?:\.\s*|\[\s*['\"])(\w+)", text))
    known = params if isinstance(params, dict) else {}
    if free == ["params"] and used and all(_restricted(known.get(name)) for name in used):
        return None
    return _first(text) if free else None


def _restricted(param: object) -> bool:
    """Whether a param, as written, accepts only values that its author has thought of."""
    if not isinstance(param, dict):
        return False
    kinds = param.get("type")
    numbers = {"integer", "number", "boolean", "null", None}
    only_numbers = "type" in param and numbers.issuperset(kinds if isinstance(kinds, list) else [kinds])
    if only_numbers or param.get("enum") is not None:
        return True
    # Without anchors, a pattern only requires a part of the value, and without a type, it does not apply to lists
    scalars = "type" in param and {"string", *numbers}.issuperset(kinds if isinstance(kinds, list) else [kinds])
    return scalars and names_characters(str(param.get("pattern", "")))


def _first(text: str) -> str:
    start = min(at for mark in ("{{", "{%") if (at := text.find(mark)) >= 0)
    end = text.find("}}" if text.startswith("{{", start) else "%}", start)
    found = " ".join(text[start : end + 2].split())
    return f"`{found[:57]}...`" if len(found) > 60 else f"`{found}`"
