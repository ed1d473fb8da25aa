"""Validate data with a pydantic model, and turn pydantic's errors into messages about the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from airflow_batchemr.pipeline_file.errors import Refusal, guess, nearest
from airflow_batchemr.pipeline_file.known_keys import JOB_KEYS, PIPELINE_KEYS, keys_of
from airflow_batchemr.pipeline_file.models.base import Model, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_core import ErrorDetails

    from airflow_batchemr.pipeline_file.errors import Severity

M = TypeVar("M", bound=Model)
Keys = tuple[str | int, ...]
#: Whether templates have been rendered.
Rendered = bool | Literal["partly"]


@dataclass(frozen=True)
class Problem:
    """An error or warning whose position in the file is not resolved yet.

    Attributes:
        keys: path from the pipeline or job to the value.
        message: what is wrong and what was expected.
        hint: how to fix it.
        severity: error, warning or note.
        key: the key is wrong, not the value.
        meant: for an unknown key, the key that was probably meant; that one is not reported as missing.
        missing: paths of which at least one is required; the problem is suppressed if one of them has an error.
        block: path of the block whose values do not go together, if the problem concerns no single value.
    """

    keys: Keys
    message: str
    hint: str | None = None
    severity: Severity = "error"
    key: bool = False
    meant: str | None = None
    missing: tuple[Keys, ...] = ()
    block: Keys | None = None


def validate(model: type[M], data: dict[str, Any], *, rendered: Rendered = False) -> tuple[M | None, list[Problem]]:
    """Validate data.

    Args:
        model: the model.
        data: its fields.
        rendered: whether templates have been rendered. `Templated` fields then accept numbers as text, and no
            templates; `partly`: they accept both.

    Returns:
        the model and the problems. If there are problems, the model is made from the remaining valid values, so that
        further checks can report their errors too; it must not be run. None if no model can be made.
    """
    context = {"rendered": rendered}
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        problems = list(_problems(model, error, ()))
    rest = data
    for problem in problems:
        rest = _without(rest, problem.keys)
    try:
        return model.model_validate(rest, context=context), problems
    except ValidationError:
        return None, problems


def invalid_values(model: type[Model], data: dict[str, Any]) -> list[Problem]:
    """Problems of single values in an incomplete model; what blocks lack, because of which they are invalid, is not."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        problems = _problems(model, error, ())
        return [problem for problem in problems if problem.block is None or not _can_grow(data, problem.block)]
    return []


def _can_grow(data: Any, block: Keys) -> bool:
    """Whether other values are merged into a block: only into mappings outside of lists."""
    for key in block:
        data = data.get(key, {}) if isinstance(data, dict) else None
    return isinstance(data, dict)


def _without(data: Any, keys: Keys) -> Any:
    if not keys:
        return data
    if isinstance(data, dict) and keys[0] in data:
        inner = data[keys[0]]
        rest = {key: value for key, value in data.items() if key != keys[0]}
        if len(keys) > 1 and isinstance(inner, dict):
            rest = {**data, keys[0]: _without(inner, keys[1:])}
        return rest
    return data


def _problems(model: type[Model], error: ValidationError, path: Keys) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        keys = (*path, *(key for key in detail["loc"] if key != "[key]"))
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            yield from _problems(model, inner, keys)
        elif isinstance(inner, Refusal):
            whole_block = isinstance(detail["input"], dict | Model) and _is_block(model, keys)
            yield Problem((*keys, *inner.at), inner.message, inner.hint, block=keys if whole_block else None)
        elif inner is not None:
            yield Problem(keys, str(inner))
        else:
            yield _problem(model, detail, keys)


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def _problem(model: type[Model], detail: ErrorDetails, keys: Keys) -> Problem:
    """The problem for one of pydantic's own errors."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        problem = unknown_key(str(keys[-1]), keys_at(model, keys[:-1]), keys)
        if problem.meant is None and len(keys) > 1 and keys[-1] in JOB_KEYS:
            return replace(problem, hint=f"it is a key of the job: move it next to `{keys[0]}`")
        return problem
    if kind == "missing":
        return Problem(keys, f"`{keys[-1]}` is missing", key=True, block=keys[:-1])
    if kind in _TYPES:
        hint = None
        if kind == "bool_type" and isinstance(value, str):
            hint = "yes, no, on and off are text in YAML 1.2"
        if kind in ("int_type", "float_type") and isinstance(value, str) and value.strip().lstrip("-").isdigit():
            hint = "remove the quotes"
        if kind == "dict_type" and isinstance(value, list) and value:
            hint = "write one `name: value` per line, without dashes"
        return Problem(keys, f"expected {_TYPES[kind]}, not {shown(value)}", hint)
    if kind in _BOUNDS:
        bound, phrase = _BOUNDS[kind]
        return Problem(keys, f"must be {phrase} {context[bound]:,}, not {shown(value)}")
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        names = expected.replace(" or ", ", ").split(", ")
        return Problem(keys, f"expected {expected}, not {shown(value)}", guess(value, names))
    if kind in ("string_too_short", "too_short"):
        return Problem(keys, "must not be empty")
    if kind in ("string_too_long", "too_long"):
        what = "characters" if isinstance(value, str) else "entries"
        return Problem(keys, f"must have at most {context['max_length']} {what}")
    return Problem(keys, str(detail["msg"]))


def unknown_key(key: str, known: Sequence[str], keys: Keys) -> Problem:
    """The problem for an unknown key, with a suggestion.

    Args:
        key: the key.
        known: the keys that are allowed at its place.
        keys: its path.
    """
    meant = nearest(key, known)
    hint = f"did you mean `{meant}`?" if meant else None
    if key == "name" and hint is None:
        hint = "the name is the key of the pipeline or job"
    if hint is None and known and len(known) <= 16:
        hint = f"known keys: {', '.join(known)}"
    return Problem(keys, f"unknown key `{key}`", hint, key=True, meant=meant)


def keys_at(model: type[Model], keys: Keys) -> Sequence[str]:
    """The keys that are allowed at a path of a model."""
    found: type[Model] | None = model
    for key in keys:
        if found is None:
            return ()
        if isinstance(key, int):
            continue
        found = model_of_key(found, str(key))
    if found is None:
        return ()
    if found.__name__ == "Job":
        return JOB_KEYS
    return PIPELINE_KEYS if found.__name__ == "Pipeline" else keys_of(found)


def _is_block(model: type[Model], keys: Keys) -> bool:
    """Whether a path leads to a block (a nested model) rather than to a value."""
    found: type[Model] | None = model
    for key in keys:
        if found is None:
            return False
        if isinstance(key, str):
            fields = {field.alias or name: field for name, field in found.model_fields.items()}
            found = _model_in(fields[key].annotation) if key in fields else None
    return found is not None


def model_of_key(model: type[Model], key: str) -> type[Model] | None:
    """The model of a key's value, or of the entries of that value."""
    for name, field in model.model_fields.items():
        if key in (name, field.serialization_alias):
            return _model_in(field.annotation)
    return model


def _model_in(annotation: Any) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None
