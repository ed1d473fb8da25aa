"""The defaults, environments and variables that apply to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.exclusive import exclusive_keys
from airflow_batchemr.pipeline_file.known_keys import (
    DEFAULTS_KEYS,
    JOB_DEFAULTS,
    JOB_KEYS,
    PIPELINE_DEFAULTS,
    PIPELINE_KEYS,
)
from airflow_batchemr.pipeline_file.limits import ExpansionLimit, count_values
from airflow_batchemr.pipeline_file.merge import Layer, merge
from airflow_batchemr.pipeline_file.models import Job, Pipeline
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import invalid_values, unknown_key
from airflow_batchemr.pipeline_file.variables import Variables

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.errors import PipelineFileError
    from airflow_batchemr.pipeline_file.reader import Document


class Defaults:
    """The merged `defaults`, `env` and `vars` of a file and of the `defaults.yaml` files of its folders.

    Args:
        documents: the `defaults.yaml` files, outermost folder first, then the file itself.
        environment: name of the `env` entry to apply; None applies none.

    Attributes:
        layers: the mappings that were merged.
        errors: errors in these blocks.
        environments: names of all `env` entries.
        pipeline: values merged into each pipeline.
        job: values merged into each job.
        variables: the variables.
        has_variables: whether a `${…}` may occur in any of the documents.
        limit: counts what the file expands to.
        size: number of values in `pipeline` and `job`.
    """

    def __init__(self, documents: list[Document], environment: str | None) -> None:
        self.layers: list[Layer] = []
        self.errors: list[PipelineFileError] = []
        self.environments: list[str] = []
        merged: dict[str, Any] = {}
        variables: dict[str, Any] = {}
        for document in documents:
            self._add_variables(document, ("vars",), document.value.get("vars"), variables)
            merged = self._merge_block(document, ("defaults",), document.value.get("defaults"), merged)
            for name, block in self._environments_of(document):
                if name == environment:
                    rest = {key: value for key, value in block.items() if key != "vars"}
                    self._add_variables(document, ("env", name, "vars"), block.get("vars"), variables)
                    merged = self._merge_block(document, ("env", name), rest, merged)
                else:
                    self._check(document, ("env", name), block)
        if environment is not None:
            variables.setdefault("environment", environment)
        self.pipeline = {key: value for key, value in merged.items() if key in PIPELINE_DEFAULTS}
        self.job = {key: value for key, value in merged.items() if key in JOB_DEFAULTS}
        self.limit = ExpansionLimit()
        self.size = count_values(self.pipeline) + count_values(self.job)
        self.variables = Variables(variables, self.limit)
        self.has_variables = any(document.has_variables for document in documents)

    def _add_variables(self, document: Document, path: tuple[str, ...], block: Any, into: dict[str, Any]) -> None:
        if isinstance(block, dict):
            into.update(block)
        elif block is not None:
            self._error(document, path, f"expected a mapping of names and values, not {shown(block)}")

    def _merge_block(
        self, document: Document, path: tuple[str, ...], block: Any, base: dict[str, Any]
    ) -> dict[str, Any]:
        if block is None:
            return base
        if not isinstance(block, dict):
            self._error(document, path, f"expected a mapping, not {shown(block)}")
            return base
        self._check(document, path, block)
        self.layers.append(Layer(document, path))
        merged: dict[str, Any] = merge(base, block)
        return merged

    def _environments_of(self, document: Document) -> list[tuple[str, dict[str, Any]]]:
        block = document.value.get("env")
        if block is None:
            return []
        if not isinstance(block, dict):
            message = f"expected a mapping of environment names, such as {{prod: …}}, not {shown(block)}"
            self._error(document, ("env",), message)
            return []
        environments = []
        for name, defaults in block.items():
            self.environments.append(str(name))
            if isinstance(defaults, dict):
                environments.append((name, defaults))
            elif defaults is not None:
                self._error(
                    document,
                    ("env", name),
                    f"expected a mapping of the environment's defaults, not {shown(defaults)}",
                    "to set environment variables for all jobs, use `defaults: {env: …}`",
                )
        return environments

    def _check(self, document: Document, path: tuple[str, ...], block: dict[str, Any]) -> None:
        """Check a block in its own file, so that errors point there and not at the pipelines that inherit them."""
        known = (*DEFAULTS_KEYS, "vars") if path[0] == "env" else DEFAULTS_KEYS
        for key in block:
            if key not in known:
                problem = unknown_key(key, known, (*path, key))
                message = problem.message
                if key in PIPELINE_KEYS or key in JOB_KEYS:
                    message = f"`{key}` can only be set on a single pipeline or job, not in `{path[0]}`"
                position, _ = document.find((*path, key), key=True)
                self.errors.append(document.error(message, problem.hint, position))
        literal = _without_variables(block) if document.has_variables else block
        for model, model_keys in ((Job, JOB_DEFAULTS), (Pipeline, PIPELINE_DEFAULTS)):
            part = {key: value for key, value in literal.items() if key in model_keys}
            for problem in (*invalid_values(model, {**part, "name": "defaults"}), *exclusive_keys(model, part)):
                position, _ = document.find((*path, *problem.keys), key=problem.key)
                self.errors.append(document.error(problem.message, problem.hint, position))

    def _error(self, document: Document, path: tuple[str, ...], message: str, hint: str | None = None) -> None:
        position, _ = document.find(path)
        self.errors.append(document.error(message, hint, position))


def _without_variables(value: Any) -> Any:
    """Remove the values that contain variables: they can only be checked after substitution."""
    if isinstance(value, dict):
        return {key: _without_variables(item) for key, item in value.items() if not _has_variable(item)}
    return value


def _has_variable(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_variable(item) for item in value)
    return isinstance(value, str) and "${" in value
