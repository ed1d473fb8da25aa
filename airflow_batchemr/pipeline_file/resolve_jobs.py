"""Resolve the jobs of a pipeline: apply defaults, `extends`, `matrix` and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file import misplaced_keys
from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.known_keys import (
    BLOCKS,
    EMR_KEYS,
    JOB_DEFAULTS,
    JOB_KEYS,
    PIPELINE_KEYS,
    SHARED_KEYS,
)
from airflow_batchemr.pipeline_file.limits import MAX_EXTENDS, count_values
from airflow_batchemr.pipeline_file.matrix import combinations
from airflow_batchemr.pipeline_file.merge import Layer, merge
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.raw_pipeline import RawJob
from airflow_batchemr.pipeline_file.validation import unknown_key

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.defaults import Defaults
    from airflow_batchemr.pipeline_file.raw_pipeline import RawPipeline
    from airflow_batchemr.pipeline_file.variables import Variables

_PIPELINE_ONLY = frozenset(PIPELINE_KEYS) - frozenset(JOB_KEYS)
#: Keys of `emr` that refer to a cluster defined elsewhere.
_EXISTING_CLUSTER = frozenset(("cluster", "cluster_id", "cluster_name"))


class JobResolver:
    """Adds resolved jobs to a pipeline.

    Args:
        pipeline: the pipeline.
        entry: the pipeline as written in the file.
        own: the layer of that entry.
        defaults: the defaults of the file.
        variables: the variables that apply to the pipeline.
    """

    def __init__(
        self,
        pipeline: RawPipeline,
        entry: dict[str, Any],
        own: Layer,
        defaults: Defaults,
        variables: Variables,
    ) -> None:
        self.pipeline = pipeline
        self.entry = entry
        self.own = own
        self.defaults = defaults
        self.variables = variables
        self.names: set[str] = set()
        self.limit_exceeded = False
        self.job_defaults = defaults.job
        self.layers = defaults.layers
        block = entry.get("defaults")
        if isinstance(block, dict):
            self.layers = [*self.layers, Layer(own.document, (*own.keys, "defaults"))]
            for key in block:
                if key not in JOB_DEFAULTS and key not in SHARED_KEYS:
                    problem = unknown_key(key, tuple(sorted(JOB_DEFAULTS)), ())
                    pipeline.error([own], ("defaults", key), Refusal(problem.message, problem.hint), key=True)
            block = {key: value for key, value in block.items() if key != "matrix"}
            self.job_defaults = merge(self.job_defaults, block)
        elif block is not None:
            pipeline.error([own], ("defaults",), Refusal(f"expected a mapping, not {shown(block)}"))

    def add_all(self) -> None:
        """Add every entry of `jobs`."""
        jobs = self.entry["jobs"]
        if not isinstance(jobs, dict):
            hint = "write each job below `jobs:` as `name:` with its keys below that"
            message = f"expected a mapping of job names, not {shown(jobs)}"
            self.pipeline.error([self.own], ("jobs",), Refusal(message, hint))
            return
        if not jobs:
            self.pipeline.error([self.own], ("jobs",), Refusal("the pipeline has no jobs"))
        for name, job in jobs.items():
            if self.limit_exceeded:
                break
            self._add_entry(str(name), job, jobs)

    def _add_entry(self, name: str, job: Any, jobs: dict[str, Any]) -> None:
        layer = Layer(self.own.document, (*self.own.keys, "jobs", name))
        if not isinstance(job, dict):
            hint = "write the job's keys below its name: batch, emr, spark, after, …"
            self.pipeline.error([layer], (), Refusal(f"expected a job as a mapping, not {shown(job)}", hint))
            return
        self._check_keys(name, job, layer)
        data = {key: value for key, value in job.items() if key in JOB_KEYS}
        layers = [layer]
        if "extends" in job:
            try:
                data, layers = self._extend(name, data, layer, jobs)
            except Refusal as refusal:
                self.pipeline.error([layer], ("extends",), refusal)
                self.limit_exceeded = True
                return
        if "matrix" not in data:
            self.add(name, data, layers)
            return
        try:
            variants = combinations(self.variables.substitute_or_raise(data["matrix"]))
        except Refusal as refusal:
            self.pipeline.error([layer], ("matrix",), refusal)
            return
        self.pipeline.groups[name] = [f"{name}_{suffix}" for suffix, _ in variants]
        for suffix, axes in variants:
            if self.limit_exceeded:
                break
            self.add(f"{name}_{suffix}", data, layers, axes)

    def _check_keys(self, name: str, job: dict[str, Any], layer: Layer) -> None:
        for key in job:
            if key not in JOB_KEYS:
                message, hint, meant = misplaced_keys.explain(key, JOB_KEYS)
                self.pipeline.meant.add((name, (meant,)))
                if key in _PIPELINE_ONLY:
                    message, hint = f"`{key}` is a key of a pipeline, not of a job", "move it next to `jobs:`"
                self.pipeline.error([layer], (key,), Refusal(message, hint), key=True)

    def _extend(
        self, name: str, job: dict[str, Any], layer: Layer, jobs: dict[str, Any]
    ) -> tuple[dict[str, Any], list[Layer]]:
        """Merge a job over the job that it extends, which may extend another; `after` and `matrix` are not inherited.

        Raises:
            Refusal: if the file expands to too many values.
        """
        data, layers, seen = job, [layer], [name]
        base = job.get("extends")
        while base is not None:
            here = layers[0]
            if not isinstance(base, str):
                self._extends_error(name, here, Refusal(f"expected the name of a job, not {shown(base)}"))
                break
            if base in seen:
                cycle = " → ".join([*seen[seen.index(base) :], base])
                self._extends_error(name, here, Refusal(f"jobs extend each other in a cycle: {cycle}"))
                break
            if len(seen) > MAX_EXTENDS:
                refusal = Refusal(f"more than {MAX_EXTENDS} jobs extend each other in a row", "extend one base job")
                self._extends_error(name, here, refusal)
                break
            found = jobs.get(base)
            if not isinstance(found, dict):
                hint = guess(base, [str(other) for other in jobs])
                self._extends_error(name, here, Refusal(f"the pipeline has no job `{base}`", hint))
                break
            self.defaults.limit.add_values(count_values(found))
            inherited = {key: value for key, value in found.items() if key not in ("after", "matrix", "extends")}
            data = merge({key: value for key, value in inherited.items() if key in JOB_KEYS}, data)
            layers.insert(0, Layer(self.own.document, (*self.own.keys, "jobs", base)))
            seen.append(base)
            base = found.get("extends")
        return data, layers

    def _extends_error(self, name: str, here: Layer, refusal: Refusal) -> None:
        self.pipeline.meant.add((name, ("extends",)))
        self.pipeline.error([here], ("extends",), refusal)

    def add(self, name: str, job: dict[str, Any], layers: list[Layer], axes: dict[str, Any] | None = None) -> None:
        """Add one job, with its defaults merged and its variables substituted.

        Args:
            name: the job's name.
            job: the job as written in the file.
            layers: the mappings that `job` was merged from.
            axes: the values of its matrix, which are variables.
        """
        layers = [*self.layers, *layers]
        if name in self.names:
            refusal = Refusal(f"the pipeline has another job named {name}", "rename one of them")
            self.pipeline.error(layers[-1:], (), refusal, key=True)
        self.names.add(name)
        try:
            self.defaults.limit.add_job(len(self.names))
            self.defaults.limit.add_values(self.defaults.size)
        except Refusal as refusal:
            self.pipeline.error(layers[-1:], (), refusal, key=True)
            self.limit_exceeded = True
            return
        variables = self.variables
        if self.defaults.has_variables:
            variables = variables.with_({"job": name, **(axes or {})})
        data = {key: value for key, value in job.items() if key not in ("extends", "matrix")}
        data = self.pipeline.substitute(layers, data, variables, self.defaults)
        if self.job_defaults:
            applicable = _applicable_defaults(self.job_defaults, data)
            data = merge(self.pipeline.substitute(layers, applicable, variables, self.defaults), data)
        self.pipeline.jobs.append(RawJob(name, data, layers))


def _applicable_defaults(defaults: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """The defaults that apply to a job: a block only if the job has the same block."""
    applicable = {}
    emr = job.get("emr")
    for key, value in defaults.items():
        if key in BLOCKS:
            if not isinstance(job.get(key), dict):
                continue
            if key == "emr" and isinstance(emr, dict) and not emr.keys().isdisjoint(_EXISTING_CLUSTER):
                continue
        elif key in EMR_KEYS and emr is None and "spark" not in job:
            continue
        applicable[key] = value
    return applicable
