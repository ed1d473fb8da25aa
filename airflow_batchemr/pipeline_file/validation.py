"""pydantic's errors in the words of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from airflow_batchemr.pipeline_file.errors import Refusal, guess, nearest
from airflow_batchemr.pipeline_file.models.base import Model, shown
from airflow_batchemr.pipeline_file.vocabulary import JOB, PIPELINE, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_core import ErrorDetails

    from airflow_batchemr.pipeline_file.errors import Severity

M = TypeVar("M", bound=Model)
Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """A mistake before its place is known.

    Attributes:
        keys: from the pipeline or job down to the value.
        message: what is wrong and what was expected.
        hint: what to do.
        severity: error or warning.
        key: it is the key that is wrong, not the value.
        meant: for an unknown word, the word that was probably meant: it is not missed as well.
        of_whole: it is no single value that is wrong, but what is missing beside it or does not go with it.
        nothing_of: the problem is that there is nothing at any of these keys.
    """

    keys: Keys
    message: str
    hint: str | None = None
    severity: Severity = "error"
    key: bool = False
    meant: str | None = None
    nothing_of: tuple[Keys, ...] = ()
    of_whole: bool = False


def validate(model: type[M], data: dict[str, Any]) -> tuple[M | None, list[Problem]]:
    """A model, or what is wrong; where only some values are wrong, the model of the rest as well.

    The model of the rest lets the checks tell all mistakes of a file at once; it is not to be run.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        problems = list(_problems(model, error, ()))
    rest = data
    for problem in problems:
        rest = _without(rest, problem.keys)
    try:
        return model.model_validate(rest), problems
    except ValidationError:
        return None, problems


def wrong_values(model: type[Model], data: dict[str, Any]) -> list[Problem]:
    """What is wrong with single values of a part of a model; what is missing, or does not go together, is left out."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = _problems(model, error, ())
        return [each for each in found if not each.of_whole or not isinstance(data.get(str(each.keys[0]), {}), dict)]
    return []


def _without(data: Any, keys: Keys) -> Any:
    if not keys:
        return data
    if isinstance(data, dict) and keys[0] in data:
        inner = data[keys[0]]
        made = {key: value for key, value in data.items() if key != keys[0]}
        if len(keys) > 1 and isinstance(inner, dict):
            made = {**data, keys[0]: _without(inner, keys[1:])}
        return made
    return data


def _problems(model: type[Model], error: ValidationError, above: Keys) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        keys = (*above, *(key for key in detail["loc"] if key != "[key]"))
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            yield from _problems(model, inner, keys)
        elif isinstance(inner, Refusal):
            of_whole = isinstance(detail["input"], dict | Model) and _is_part(model, keys)
            yield Problem((*keys, *inner.at), inner.message, inner.hint, of_whole=of_whole)
        elif inner is not None:
            yield Problem(keys, str(inner))
        else:
            yield _told(model, detail, keys)


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


def _told(model: type[Model], detail: ErrorDetails, keys: Keys) -> Problem:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        problem = unknown(str(keys[-1]), known_words(model, keys[:-1]), keys)
        if problem.meant is None and len(keys) > 1 and keys[-1] in JOB:
            return replace(problem, hint=f"it is a word of the job: write it beside `{keys[0]}`")
        return problem
    if kind == "missing":
        return Problem(keys, f"`{keys[-1]}` is missing", key=True, of_whole=True)
    if kind in _TYPES:
        hint = None
        if kind == "bool_type" and isinstance(value, str):
            hint = "YAML's yes, no, on and off are text here"
        if kind in ("int_type", "float_type") and isinstance(value, str) and value.strip().lstrip("-").isdigit():
            hint = "remove the quotes"
        if kind == "dict_type" and isinstance(value, list) and value:
            hint = "write `name: value` without a dash, a line each"
        return Problem(keys, f"expected {_TYPES[kind]}, not {shown(value)}", hint)
    if kind in _BOUNDS:
        bound, said = _BOUNDS[kind]
        return Problem(keys, f"must be {said} {context[bound]:,}, not {shown(value)}")
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        names = expected.replace(" or ", ", ").split(", ")
        return Problem(keys, f"expected {expected}, not {shown(value)}", guess(value, names))
    if kind in ("string_too_short", "too_short"):
        return Problem(keys, "must not be empty")
    if kind in ("string_too_long", "too_long"):
        what = "characters" if kind == "string_too_long" else "entries"
        return Problem(keys, f"must have at most {context['max_length']} {what}")
    return Problem(keys, str(detail["msg"]))


def unknown(word: str, known: Sequence[str], keys: Keys) -> Problem:
    """An unknown word, with a guess."""
    meant = nearest(word, known)
    hint = f"did you mean `{meant}`?" if meant else None
    if word == "name" and hint is None:
        hint = "the name is the key"
    if hint is None and known:
        hint = f"known here: {', '.join(known)}" if len(known) <= 16 else None
    return Problem(keys, f"unknown word `{word}`", hint, key=True, meant=meant)


def known_words(model: type[Model], keys: Keys) -> Sequence[str]:
    """The words that may stand at a place of a model."""
    found: type[Model] | None = model
    for key in keys:
        if found is None:
            return ()
        if isinstance(key, int):
            continue
        found = _inner(found, str(key))
    if found is None:
        return ()
    if found.__name__ == "Job":
        return JOB
    return PIPELINE if found.__name__ == "Pipeline" else words_of(found)


def _is_part(model: type[Model], keys: Keys) -> bool:
    """Whether the place is a block of words, rather than a value."""
    found: type[Model] | None = model
    for key in keys:
        if found is None:
            return False
        if isinstance(key, str):
            fields = {field.alias or name: field for name, field in found.model_fields.items()}
            found = _model_in(fields[key].annotation) if key in fields else None
    return found is not None


def _inner(model: type[Model], word: str) -> type[Model] | None:
    """The model that a word's value (or each of its entries) is made of."""
    for name, field in model.model_fields.items():
        if word in (name, field.serialization_alias):
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
