"""The JSON Schema of pipeline files, made from the models: editors complete and check with it.

It takes whatever `load_file` takes, and refuses unknown words, wrong types and values out of bounds. What a
schema cannot see (names that other parts must have, what `defaults` bring, AWS's combinations) is left to `validate`.
"""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

from pydantic.json_schema import models_json_schema

from airflow_batchemr.pipeline_file import models, vocabulary
from airflow_batchemr.pipeline_file.checks.names import MAX_NAME
from airflow_batchemr.pipeline_file.matrix import MAX_COMBINATIONS
from airflow_batchemr.pipeline_file.models.base import SCALAR, Model

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"$ref": "#/$defs/variable"}
_NULL = {"type": "null"}
#: Parts that stand in lists only: nothing is merged into them, so that what they need must be there.
_WHOLE = ("Step", "Copy", "Notify", "Slack", "Hive", "FleetType", "Bootstrap", "Ulimit")
_MADE = [(given, word) for given in ("cluster", "cluster_id", "cluster_name") for word in ("type", "master", "fleets")]
#: Words of which only one may be there.
_EXCLUSIVE: dict[str, list[tuple[str, ...]]] = {
    "Array": [
        ("size", "pack", "per_object", "rows"),
        ("into", "max_bytes", "max_objects"),
        *(("size", word) for word in ("into", "max_bytes", "max_objects", "suffix", "allow_empty")),
        *((word, limit) for word in ("per_object", "rows") for limit in ("into", "max_bytes", "max_objects", "suffix")),
    ],
    "Batch": [("image", "definition")],
    "Emr": [
        ("cluster", "cluster_id", "cluster_name"),
        ("type", "master", "fleets"),
        ("type", "core", "fleets"),
        ("type", "task", "fleets"),
        *_MADE,
    ],
    "Spark": [("py", "jar"), ("py", "class")],
    "Schedule": [("cron", "every", "continuous", "after_assets", "timetable")],
    "Notify": [("email", "slack", "pagerduty", "notifier")],
    "Step": [("command", "jar", "spark", "hive", "copy", "raw")],
    "On": [("emr_serverless", "emr_eks")],
    "Assets": [("all", "any")],
    "Job": [
        *(("batch", word) for word in ("spark", "steps", "load", "save", "on")),
        *(("operator", word) for word in ("batch", "array", "emr", "spark", "steps", "load", "save", "on")),
        *(("on", word) for word in ("steps", "load", "save")),
        ("spark", "steps"),
    ],
}
#: One of these gives a job something to run.
_WORK = {
    "anyOf": [
        {"required": [word], "properties": {word: {"not": _NULL}}}
        for word in ("batch", "spark", "steps", "load", "save", "operator")
    ]
}


def json_schema() -> dict[str, Any]:
    """The schema of a whole file."""
    both = [(models.Pipeline, "validation"), (models.Job, "validation")]
    _, made = models_json_schema(both, by_alias=True, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    parts = {name: _part(name, part) for name, part in made["$defs"].items()}
    pipeline, job = parts.pop("Pipeline"), parts.pop("Job")
    job["properties"] |= {"matrix": _matrix(), "extends": {"type": "string", "description": "a job to build on"}}
    jobs_default = {word: job["properties"][word] for word in vocabulary.JOB if word in vocabulary.JOB_DEFAULTS}
    shared = {word: job["properties"][word] for word in vocabulary.SHARED if word != "matrix"}
    pipeline["properties"] |= {
        "matrix": _matrix(),
        "defaults": {
            "anyOf": [_object(shared | jobs_default), _NULL],
            "description": "merged under the pipeline's jobs",
        },
    }
    flat = {word: value for word, value in pipeline["properties"].items() if word != "jobs"}
    flat |= {word: value for word, value in job["properties"].items() if word not in (*vocabulary.SHARED, "extends")}
    pipeline["properties"]["jobs"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": _name(),
        "additionalProperties": {"$ref": "#/$defs/Job"},
        "description": "jobs by name",
    }
    everything = pipeline["properties"] | job["properties"]
    defaults = {word: everything[word] for word in vocabulary.DEFAULTS}
    variables = {"type": ["object", "null"], "description": "filled in where the file says ${name}"}
    parts |= {
        "variable": {"type": "string", "pattern": r"\$\{"},
        "Job": {**job, "if": {"not": {"required": ["extends"]}}, "then": _WORK},
        "Pipeline": pipeline,
        "FlatPipeline": {
            **_object(flat, "A pipeline of one job, whose words stand beside the pipeline's."),
            **_exclusive("Job"),
            **_WORK,
            "dependentRequired": {"array": ["batch"]},
        },
        "Defaults": _object(defaults, "Merged under every pipeline and job of the file."),
        "Environment": _object(defaults | {"vars": variables}, "Defaults of one environment."),
    }
    return {
        "$schema": SCHEMA,
        "title": "airflow-batchemr pipelines",
        "type": "object",
        "minProperties": 1,
        "properties": {
            "defaults": {"anyOf": [{"$ref": "#/$defs/Defaults"}, _NULL]},
            "env": {
                "description": "defaults by environment",
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
    told = {"description": description} if description else {}
    return {"type": "object", **told, "properties": properties, "additionalProperties": False}


def _matrix() -> dict[str, Any]:
    name = {"pattern": r"^[A-Za-z_][A-Za-z0-9_-]*$"}
    axis = {"anyOf": [{"type": "array", "items": SCALAR, "minItems": 1, "maxItems": MAX_COMBINATIONS}, _VARIABLE]}
    return {
        "description": "one for each combination of the values, which are variables",
        "anyOf": [
            {"type": "object", "minProperties": 1, "propertyNames": name, "additionalProperties": axis},
            _VARIABLE,
        ],
    }


def _part(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """A model's schema: with its docstring's words, null for what is not there, and variables."""
    told = _told(name)
    properties = {}
    for word, schema in part.get("properties", {}).items():
        if word == "name" and name in ("Pipeline", "Job"):
            continue
        told.setdefault(word, schema.get("description", ""))
        value = _inner({key: item for key, item in schema.items() if key not in ("title", "default", "description")})
        value = _with_variable(value)
        if name != "Param":
            value = _or(value, _NULL)
        properties[word] = {"description": told[word], **value} if told[word] else value
    made = _object(properties, told.get(""))
    if name in _WHOLE and part.get("required"):
        made["required"] = part["required"]
    made |= _exclusive(name)
    return made


def _exclusive(name: str) -> dict[str, Any]:
    """That of some words only one may be there; null is not there."""
    pairs = [pair for group in _EXCLUSIVE.get(name, ()) for pair in itertools.combinations(group, 2)]
    some = {"not": _NULL}
    rules = [
        {"not": {"required": list(pair), "properties": dict.fromkeys(pair, some)}} for pair in dict.fromkeys(pairs)
    ]
    return {"allOf": rules} if rules else {}


def _inner(schema: dict[str, Any]) -> dict[str, Any]:
    """Variables in the items of lists and in the values of mappings."""
    made = {key: value for key, value in schema.items() if key not in ("title", "default")}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _with_variable(_inner(made[key]))
    if "anyOf" in made:
        made["anyOf"] = [_inner(each) for each in made["anyOf"]]
    if "properties" in made:
        made["properties"] = {word: _with_variable(_inner(value)) for word, value in made["properties"].items()}
    return made


def _with_variable(schema: dict[str, Any]) -> dict[str, Any]:
    return schema if _takes_text(schema) else _or(schema, _VARIABLE)


def _takes_text(schema: dict[str, Any]) -> bool:
    """Whether any text may stand there, a variable too."""
    if "anyOf" in schema:
        return any(_takes_text(each) for each in schema["anyOf"])
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


def _told(name: str) -> dict[str, str]:
    """What a model's docstring says of it (under the empty word) and of each of its keys."""
    model = _models(models.Pipeline)[name]
    # Python 3.13 takes the common indentation away by itself
    head, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("Attributes:")
    told = {"": " ".join(head.split())}
    for entry in re.split(r"\n {4}(?=\S)", attributes)[1:]:
        word, _, text = entry.partition(":")
        field = model.model_fields.get(word)
        told[(field.alias or word) if field is not None else word] = " ".join(text.split())
    return told


def _models(root: type[Model]) -> dict[str, type[Model]]:
    """All models that a model is made of, by name."""
    found: dict[str, type[Model]] = {}
    sought: list[Any] = [root]
    while sought:
        part = sought.pop()
        if isinstance(part, type) and issubclass(part, Model):
            if part.__name__ not in found:
                found[part.__name__] = part
                sought += [field.annotation for field in part.model_fields.values()]
                sought += [meta for field in part.model_fields.values() for meta in field.metadata]
        else:
            sought += getattr(part, "__args__", ())
    found.setdefault("Assets", models.Assets)
    return found
