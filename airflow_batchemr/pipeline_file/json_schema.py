"""The JSON Schema of pipeline files, generated from the models, for completion and validation in editors.

It accepts every file that `load_file` accepts, and rejects unknown keys, wrong types and values out of range. What a
schema cannot express (references to other parts, values from `defaults`, AWS's rules) is only checked by `load_file`.
"""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

from pydantic.json_schema import models_json_schema

from airflow_batchemr.pipeline_file import known_keys, models
from airflow_batchemr.pipeline_file.checks.names import MAX_NAME
from airflow_batchemr.pipeline_file.exclusive import EXCLUSIVE
from airflow_batchemr.pipeline_file.matrix import MAX_COMBINATIONS
from airflow_batchemr.pipeline_file.models.base import SCALAR, Model
from airflow_batchemr.pipeline_file.steps import KINDS

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"$ref": "#/$defs/variable"}
_NULL = {"type": "null"}
#: Parts of a schema that editors do not need, or that are set elsewhere.
_OMITTED = ("title", "default", "description")
#: Models that are only used as items of lists: no defaults are merged into them, so that required keys must be present.
_LIST_ITEMS = {
    *("Step", "Notify", "Slack", "FleetType", "Bootstrap", "Ulimit"),
    *(model.__name__ for kind in KINDS if kind.key() not in known_keys.BLOCKS for model in kind.blocks()),
}
#: A job requires one of these.
_WORK = {
    "anyOf": [
        {"required": [key], "properties": {key: {"not": _NULL}}}
        for key in ("batch", "spark", "steps", "load", "save", "operator")
    ]
}


def json_schema() -> dict[str, Any]:
    """The schema of a whole file."""
    both = [(models.Pipeline, "validation"), (models.Job, "validation")]
    _, schemas = models_json_schema(both, by_alias=True, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    parts = {name: _part(name, part) for name, part in schemas["$defs"].items()}
    pipeline, job = parts.pop("Pipeline"), parts.pop("Job")
    extends = "Job of the same pipeline to inherit keys from, except `after` and `matrix`"
    job["properties"] |= {"matrix": _matrix(), "extends": {"type": "string", "description": extends}}
    jobs_default = {key: job["properties"][key] for key in known_keys.JOB_KEYS if key in known_keys.JOB_DEFAULTS}
    shared = {key: job["properties"][key] for key in known_keys.SHARED_KEYS if key != "matrix"}
    pipeline["properties"] |= {
        "matrix": _matrix(),
        "defaults": {
            "anyOf": [_object(shared | jobs_default), _NULL],
            "description": "Defaults for the jobs of the pipeline",
        },
    }
    flat = {key: value for key, value in pipeline["properties"].items() if key != "jobs"}
    flat |= {key: value for key, value in job["properties"].items() if key not in (*known_keys.SHARED_KEYS, "extends")}
    pipeline["properties"]["jobs"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": _name(),
        "additionalProperties": {"$ref": "#/$defs/Job"},
        "description": "The jobs, by name",
    }
    everything = pipeline["properties"] | job["properties"]
    defaults = {key: everything[key] for key in known_keys.DEFAULTS_KEYS}
    variables = {"type": ["object", "null"], "description": "Variables, used as ${name}"}
    parts |= {
        "variable": {"type": "string", "pattern": r"\$\{"},
        "Job": {**job, "if": {"not": {"required": ["extends"]}}, "then": _WORK},
        "Pipeline": pipeline,
        "FlatPipeline": {
            **_object(flat, "A pipeline with a single job, whose keys are next to the pipeline's."),
            **_exclusive("Job"),
            **_WORK,
            "dependentRequired": {"array": ["batch"]},
        },
        "Defaults": _object(defaults, "Defaults for all pipelines and jobs of the file."),
        "Environment": _object(defaults | {"vars": variables}, "Defaults for one environment."),
    }
    return {
        "$schema": SCHEMA,
        "title": "airflow-batchemr pipelines",
        "type": "object",
        "minProperties": 1,
        "properties": {
            "defaults": {"anyOf": [{"$ref": "#/$defs/Defaults"}, _NULL]},
            "env": {
                "description": "Defaults and variables by environment",
                "type": ["object", "null"],
                "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Environment"}, _NULL]},
            },
            "vars": variables,
        },
        "propertyNames": _name(),
        "additionalProperties": {
            "type": "object",
            "if": {"required": ["jobs"]},
            "then": {"$ref": "#/$defs/Pipeline"},
            "else": {"$ref": "#/$defs/FlatPipeline"},
        },
        "$defs": dict(sorted(parts.items())),
    }


def _name() -> dict[str, Any]:
    return {"pattern": rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}$"}


def _object(properties: dict[str, Any], description: str | None = None) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {"type": "object", **described, "properties": properties, "additionalProperties": False}


def _matrix() -> dict[str, Any]:
    name = {"pattern": r"^[A-Za-z_][A-Za-z0-9_-]*$"}
    axis = {"anyOf": [{"type": "array", "items": SCALAR, "minItems": 1, "maxItems": MAX_COMBINATIONS}, _VARIABLE]}
    return {
        "description": "One pipeline or job per combination of the values, which are available as variables",
        "anyOf": [
            {"type": "object", "minProperties": 1, "propertyNames": name, "additionalProperties": axis},
            _VARIABLE,
        ],
    }


def _part(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model: every key also accepts null, which means absent, and variables."""
    model = models_of(models.Pipeline)[name]
    documented = _documented_attributes(model)
    properties = {}
    for key, schema in part.get("properties", {}).items():
        if key == "name" and name in ("Pipeline", "Job"):
            continue
        description = schema.get("description", documented.get(key))
        value = _with_variable(_inner(schema))
        if name != "Param":
            value = _or(value, _NULL)
        properties[key] = {"description": description, **value} if description else value
    result = _object(properties, _summary(model))
    if name in _LIST_ITEMS and part.get("required"):
        result["required"] = part["required"]
    return result | _exclusive(name)


def _exclusive(name: str) -> dict[str, Any]:
    """The rules for mutually exclusive keys; null means absent."""
    pairs = [pair for group in EXCLUSIVE.get(name, ()) for pair in itertools.combinations(group, 2)]
    some = {"not": _NULL}
    rules = [
        {"not": {"required": list(pair), "properties": dict.fromkeys(pair, some)}} for pair in dict.fromkeys(pairs)
    ]
    return {"allOf": rules} if rules else {}


def _inner(schema: dict[str, Any]) -> dict[str, Any]:
    """Accept variables in the items of lists and in the values of mappings."""
    result = {key: value for key, value in schema.items() if key not in _OMITTED}
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = _with_variable(_inner(result[key]))
    if "anyOf" in result:
        result["anyOf"] = [_inner(each) for each in result["anyOf"]]
    if "properties" in result:
        result["properties"] = {key: _with_variable(_inner(value)) for key, value in result["properties"].items()}
    return result


def _with_variable(schema: dict[str, Any]) -> dict[str, Any]:
    return schema if _accepts_text(schema) else _or(schema, _VARIABLE)


def _accepts_text(schema: dict[str, Any]) -> bool:
    """Whether the schema accepts any text, and so a variable."""
    if "anyOf" in schema:
        return any(_accepts_text(each) for each in schema["anyOf"])
    if not schema:
        return True
    kinds = schema.get("type", ())
    is_text = "string" in kinds if isinstance(kinds, list) else kinds == "string"
    return is_text and not schema.keys() & {"pattern", "enum", "const", "maxLength"}


def _or(schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    if not schema or other in schema.get("anyOf", ()):
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], other]}
    return {"anyOf": [schema, other]}


def _summary(model: type[Model]) -> str:
    """The first part of a model's docstring."""
    return " ".join((model.__doc__ or "").partition("Attributes:")[0].split())


def _documented_attributes(model: type[Model]) -> dict[str, str]:
    """Descriptions of keys from a model's docstring, for fields without a description."""
    # cleandoc because Python 3.12 and earlier do not remove the common indentation
    attributes = inspect.cleandoc(model.__doc__ or "").partition("Attributes:")[2]
    described = {}
    for entry in re.split(r"\n {4}(?=\S)", attributes)[1:]:
        name, _, text = entry.partition(":")
        field = model.model_fields.get(name)
        described[(field.alias or name) if field is not None else name] = " ".join(text.split())
    return described


def models_of(root: type[Model]) -> dict[str, type[Model]]:
    """A model and all models that it contains, by name."""
    found: dict[str, type[Model]] = {}
    remaining: list[Any] = [root]
    while remaining:
        part = remaining.pop()
        if isinstance(part, type) and issubclass(part, Model):
            if part.__name__ not in found:
                found[part.__name__] = part
                remaining += [field.annotation for field in part.model_fields.values()]
                remaining += [meta for field in part.model_fields.values() for meta in field.metadata]
        else:
            remaining += getattr(part, "__args__", ())
    found.setdefault("Assets", models.Assets)
    return found
