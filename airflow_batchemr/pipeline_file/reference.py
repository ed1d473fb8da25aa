"""Generate the tables of docs/pipeline-file.md: `python -m airflow_batchemr.pipeline_file.reference`.

Each table lists the keys of one model between the comments `<!-- keys: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from airflow_batchemr.pipeline_file import models
from airflow_batchemr.pipeline_file.importers.translation import duration
from airflow_batchemr.pipeline_file.json_schema import json_schema, models_of
from airflow_batchemr.pipeline_file.models import base

_TABLE = re.compile(r"<!-- keys: (?P<model>\w+) -->\n.*?<!-- end -->", re.DOTALL)
_VARIABLE = {"$ref": "#/$defs/variable"}
_SECONDS = "duration"
#: Names of the types that can be written in several ways.
_NAMED_TYPES = [
    (TypeAdapter(annotation).json_schema(), name)
    for annotation, name in (
        (base.Seconds, _SECONDS),
        (base.Mebibytes, "size"),
        (base.Moment, "date"),
        (base.S3Uri, "`s3://…`"),
        (base.Texts, "text or list"),
        (base.Text, "text"),
        (base.Word, "text"),
    )
]


def update(document: str) -> str:
    """Replace the tables of a document.

    Raises:
        KeyError: if there is no model of a name.
    """
    definitions = json_schema()["$defs"]
    by_name = models_of(models.Pipeline)

    def table(match: re.Match[str]) -> str:
        name = match["model"]
        rows = [_row(by_name[name], key, schema) for key, schema in definitions[name]["properties"].items()]
        header = ["| key | type | default | description |", "|---|---|---|---|"]
        return "\n".join([f"<!-- keys: {name} -->", "", *header, *rows, "", "<!-- end -->"])

    return _TABLE.sub(table, document)


def _row(model: type[base.Model], key: str, schema: dict[str, Any]) -> str:
    kind = _type(schema)
    description, _, default = schema.get("description", "").replace("|", r"\|").partition(". Default: ")
    if default.endswith("."):  # descriptions that are whole sentences, of `Batch`
        description, default = f"{description}.", default[:-1]
    return f"| `{key}` | {kind} | {default or _default(model, key, kind)} | {description} |"


def _default(model: type[base.Model], key: str, kind: str) -> str:
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            if field.is_required():
                return "required" if key != "jobs" else ""
            default = field.get_default(call_default_factory=True, validated_data={})
            if default is None or default in ([], {}):
                return ""
            return f"`{duration(default) if kind == _SECONDS else base.shown(default)}`"
    return ""


def _type(schema: dict[str, Any]) -> str:
    """The type of a key, from its JSON Schema; short forms come first."""
    long_forms = ("list", "mapping", "template")
    names = sorted(dict.fromkeys(_types(schema)), key=lambda name: long_forms.index(name) if name in long_forms else -1)
    return " or ".join(names)


def _types(schema: dict[str, Any]) -> list[str]:
    schema = {key: value for key, value in schema.items() if key != "description"}
    if schema in (_VARIABLE, {"type": "null"}):
        return []
    if schema == base.TEMPLATE:
        return ["template"]
    for named, name in _NAMED_TYPES:
        if schema == named:
            return [name]
        if "anyOf" in named and all(each in schema.get("anyOf", ()) for each in named["anyOf"]):
            others = [each for each in schema["anyOf"] if each not in named["anyOf"]]
            return [name, *_types({"anyOf": others})]
    if "anyOf" in schema:
        return [name for each in schema["anyOf"] for name in _types(each)]
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ["text" if len(values) > 6 else ", ".join(f"`{value}`" for value in values)]
    kinds = schema.get("type", "object" if "$ref" in schema else "any")
    if isinstance(kinds, list):
        return ["number" if set(kinds) == {"string", "number"} else "text" if "string" in kinds else "any"]
    if kinds in ("integer", "number"):
        return [_bounds(schema)]
    return [{"boolean": "true, false", "object": "mapping", "array": "list", "string": "text"}.get(kinds, kinds)]


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None:
        return "number"
    return f"{low:g} or more" if high is None else f"{low:,} to {high:,}"


def main(path: Path) -> None:
    """Update a document in place."""
    path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pipeline-file.md"))
