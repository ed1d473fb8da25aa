"""The configurations of an EMR cluster."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.base import shown, text

_KEYS = ("Classification", "Properties", "Configurations")
#: JSON Schema of a configuration in EMR's form.
CONFIGURATION = {
    "type": "object",
    "properties": {key: {} for key in _KEYS},
    "required": ["Classification"],
    "additionalProperties": False,
}


def as_configurations(value: object) -> object:
    """Convert `{classification: {key: value}}` to EMR's list of configurations."""
    if not isinstance(value, dict):
        _check_configurations(value, [])
        return value
    result = []
    for name, properties in value.items():
        if not isinstance(properties, dict):
            raise Refusal(
                f"expected a mapping of the classification's properties, not {shown(properties)}", None, [name]
            )
        result.append(
            {"Classification": name, "Properties": {text(key): text(item) for key, item in properties.items()}}
        )
    return result


def _check_configurations(value: object, at: list[str | int]) -> None:
    """Check the names in EMR's list of configurations; EMR rejects a classification that is listed twice."""
    names: list[object] = []
    for position, item in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(item, dict):
            continue  # reported by the model
        for key in item:
            if key not in _KEYS:
                hint = guess(key, _KEYS) or f"known keys: {', '.join(_KEYS)}"
                raise Refusal(f"a configuration of EMR has no `{key}`", hint, [*at, position, key])
        if (name := item.get("Classification")) is None:
            raise Refusal("`Classification` is missing", at=[*at, position])
        if name in names:
            raise Refusal(f"the classification {shown(name)} is listed twice", "merge them", [*at, position])
        names.append(name)
        _check_configurations(item.get("Configurations"), [*at, position, "Configurations"])
