"""Check requests and parts of them against botocore's own service models, and documented limits that these lack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from botocore.model import Shape

#: Python types of a shape, and their name in messages.
_TYPES: dict[str, tuple[Any, str]] = {
    "structure": ((dict,), "a mapping"),
    "map": ((dict,), "a mapping"),
    "list": ((list, tuple), "a list"),
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "long": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}
_NUMBERS = frozenset({"integer", "long", "float", "double", "boolean"})
#: Shapes whose pattern takes exponential time for some texts: EMR Serverless has `(.[0-9A-Za-z]{2,4})+`.
SLOW_PATTERNS = frozenset({"PrometheusUrlString"})
#: The models have Java's patterns, which write characters above U+FFFF as two surrogates.
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff"
#: Enums whose values are not case-sensitive (AWS Batch, EvaluateOnExit).
_CASELESS = frozenset({"RetryAction"})
#: Smallest and largest values that the models lack, by shape and member (API references of AWS Batch and EMR).
_RANGES = {
    ("RetryStrategy", "attempts"): (1, 10),
    ("JobTimeout", "attemptDurationSeconds"): (60, None),
    ("SubmitJobRequest", "schedulingPriorityOverride"): (0, 9999),
    ("RegisterJobDefinitionRequest", "schedulingPriority"): (0, 9999),
    ("RunJobFlowInput", "StepConcurrencyLevel"): (1, 256),
    ("AutoTerminationPolicy", "IdleTimeout"): (60, 604_800),
}
#: Numbers of items, in the same way.
_MOST = {
    ("RetryStrategy", "evaluateOnExit"): 5,
    ("SubmitJobRequest", "dependsOn"): 20,
    ("RunJobFlowInput", "BootstrapActions"): 16,
}
_PRICE = r"\d+(\.\d{1,3})?", "a price in US dollars with up to 3 decimals"  # as EMR answers in mrjob's tests
#: Patterns of text, in the same way, and what they describe.
_FORMATS = {
    ("SubmitJobRequest", "shareIdentifier"): (r"[A-Za-z0-9]{1,255}\*?", "up to 255 letters and digits"),
    ("RegisterJobDefinitionRequest", "jobDefinitionName"): (
        r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}",
        "up to 128 letters, digits, - and _",
    ),
    ("InstanceGroupConfig", "BidPrice"): _PRICE,
    ("InstanceTypeConfig", "BidPrice"): _PRICE,
    ("RunJobFlowInput", "ReleaseLabel"): (r"emr-\d+\.\d+\.\d+(-latest)?", "a release label such as emr-7.5.0"),
}


@dataclass(frozen=True)
class Wrong:
    """A value that the service would refuse.

    Attributes:
        keys: path of the value.
        message: what is wrong.
        value: the value.
        unknown: the name of an unknown parameter.
        known: the parameters that are known at its place.
        missing: the name of a missing parameter.
    """

    keys: tuple[str | int, ...]
    message: str
    value: Any = None
    unknown: str | None = None
    known: Sequence[str] = ()
    missing: str | None = None


def wrong_parts(service: str, path: str, value: Any, added: Collection[str] = ()) -> Iterator[Wrong]:
    """Find what the service would refuse: unknown names, types, enums, lengths, patterns, missing names in lists.

    Outside of lists, names may be missing and values may be null, because the value is merged into a request. Text with
    an Airflow template is accepted for any type.

    Args:
        service: botocore's name of the service, such as `batch`.
        path: operation and members that the value belongs to, such as `RegisterJobDefinition.containerProperties`.
        value: the value.
        added: names that may be missing anywhere, because they are added to the request.
    """
    for wrong in _wrong(shape(service, path), value, (), complete=False, templates=True):
        if wrong.missing not in added:
            yield wrong


def wrong_in_request(service: str, operation: str, request: Any) -> Iterator[Wrong]:
    """Find what the service would refuse in a complete request: also missing names, null and templates."""
    yield from _wrong(shape(service, operation), request, (), complete=True, templates=False)


def with_numbers(service: str, path: str, value: Any, convert: Callable[[str], Any]) -> Any:
    """Replace the text in the place of a number or a boolean, which is a template or what one has rendered to.

    Args:
        service: botocore's name of the service.
        path: operation and members that the value belongs to, see `wrong_parts`.
        value: the value.
        convert: the value for such a text; None removes its member.
    """
    return _with_numbers(shape(service, path), value, convert)


def _with_numbers(shape: Any, value: Any, convert: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return convert(value) if shape.type_name in _NUMBERS else value
    if isinstance(value, dict) and shape.type_name in {"structure", "map"}:
        members = shape.members if shape.type_name == "structure" else dict.fromkeys(value, shape.value)
        made = {
            name: _with_numbers(members[name], part, convert) if name in members else part
            for name, part in value.items()
        }
        return {name: part for name, part in made.items() if part is not None or value[name] is None}
    if isinstance(value, list | tuple) and shape.type_name == "list":
        return [_with_numbers(shape.member, part, convert) for part in value]
    return value


def rendered_number(text: str) -> Any:
    """The number or boolean that a template has rendered to; other text is returned as it is."""
    if number := re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", text.strip()):
        return (float if number[1] else int)(text)
    return {"true": True, "false": False}.get(text.strip().lower(), text)


@lru_cache(maxsize=32)
def shape(service: str, path: str) -> Shape:
    """The shape of an operation's input, or of a part of it; `[]` after a name selects the items of a list."""
    operation, *names = path.replace("[]", ".[]").split(".")
    found: Any = _model(service).operation_model(operation).input_shape
    for name in names:
        found = found.member if name == "[]" else found.members[name]
    result: Shape = found
    return result


@lru_cache(maxsize=4)
def _model(service: str) -> Any:
    # Imported when needed, because most files have no such parts.
    from botocore.loaders import Loader  # noqa: PLC0415
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def _wrong(shape: Any, value: Any, keys: tuple[str | int, ...], *, complete: bool, templates: bool) -> Iterator[Wrong]:
    if value is None and not complete:
        return
    if templates and isinstance(value, str) and ("{{" in value or "{%" in value):
        return
    types, expected = _TYPES.get(shape.type_name, (None, ""))
    if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        yield Wrong(keys, f"expected {expected}", value)
    elif shape.type_name == "structure":
        for name, part in value.items():
            if name in shape.members:
                found = list(_wrong(shape.members[name], part, (*keys, name), complete=complete, templates=templates))
                if not found and (problem := _outside(shape.name, name, part)):
                    found = [Wrong((*keys, name), problem, part)]
                yield from found
            else:
                yield Wrong((*keys, str(name)), f"unknown parameter `{name}`", part, str(name), tuple(shape.members))
        if complete:
            missing = [name for name in shape.required_members if name not in value]
            yield from (Wrong(keys, f"`{name}` is missing", value, missing=name) for name in missing)
    elif shape.type_name == "map":
        for name, part in value.items():
            yield from _wrong(shape.value, part, (*keys, str(name)), complete=True, templates=templates)
    elif shape.type_name == "list":
        for number, part in enumerate(value):
            yield from _wrong(shape.member, part, (*keys, number), complete=True, templates=templates)
    elif shape.type_name == "string":
        if problem := _wrong_text(shape, value):
            yield Wrong(keys, problem, value)
    elif shape.type_name in {"integer", "long"} and value < shape.metadata.get("min", value):
        yield Wrong(keys, f"must be at least {shape.metadata['min']}", value)


def _outside(structure: str, member: str, value: Any) -> str | None:
    """What is wrong with a member of a valid type, by the limits that are not in the models."""
    if value is None or (isinstance(value, str) and ("{{" in value or "{%" in value or "${" in value)):
        return None
    where = structure, member
    if where in _RANGES:
        least, most = _RANGES[where]
        if most is None:
            return None if value >= least else f"must be at least {least:,}"
        return None if least <= value <= most else f"must be between {least:,} and {most:,}"
    if where in _MOST:
        return None if len(value) <= _MOST[where] else f"at most {_MOST[where]:,} entries, not {len(value):,}"
    pattern, expected = _FORMATS.get(where, ("", ""))
    return f"expected {expected}" if pattern and not re.fullmatch(pattern, value) else None


def _wrong_text(shape: Any, value: str) -> str | None:
    allowed, limits = shape.enum, shape.metadata
    least, most, pattern = limits.get("min", 0), limits.get("max"), limits.get("pattern")
    if allowed and value not in allowed and not (shape.name in _CASELESS and value.upper() in allowed):
        return f"expected one of {', '.join(allowed)}"
    if most is not None and len(value) > most:
        return f"at most {most:,} characters, not {len(value):,}"
    if len(value) < least:
        return f"at least {least:,} characters, not {len(value):,}"
    if shape.name in SLOW_PATTERNS:
        return None
    if pattern and not re.fullmatch(pattern.replace(*_SURROGATES), value, re.DOTALL):
        return f"expected text that matches {pattern}"
    return None
