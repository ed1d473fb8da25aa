"""Load and validate a pipeline file: `load_file`."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file import checks
from airflow_batchemr.pipeline_file.dag_factory import dag_factory_error
from airflow_batchemr.pipeline_file.defaults import Defaults
from airflow_batchemr.pipeline_file.discovery import FOLDER_FILE, SUFFIXES
from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.extract import extract_entries, pipeline_names
from airflow_batchemr.pipeline_file.known_keys import RESERVED
from airflow_batchemr.pipeline_file.limits import MAX_PIPELINES
from airflow_batchemr.pipeline_file.merge import Layer, error_at, merge
from airflow_batchemr.pipeline_file.models import Job, Pipeline
from airflow_batchemr.pipeline_file.reader import MAX_FILE, Document, read
from airflow_batchemr.pipeline_file.resolve import resolve
from airflow_batchemr.pipeline_file.validation import Keys, Problem, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.policy import Policy
    from airflow_batchemr.pipeline_file.raw_pipeline import RawJob, RawPipeline

#: A folder that contains one of these is a root: `defaults.yaml` files above it are ignored.
_ROOT_MARKERS = (".git", ".airflowignore", "airflow.cfg")


@dataclass
class PipelineFile:
    """The content of a pipeline file.

    Attributes:
        path: the file.
        pipelines: the pipelines without errors, by name, fully resolved.
        errors: all errors, in the order of the file.
        warnings: values that are valid but probably unintended, and notes about an imported file.
        names: names of all pipelines, including those with errors.
        environments: names of the `env` entries of the file and of its folders.
        policy: the function that `apply_policy` has called, if any.
    """

    path: Path
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    errors: list[PipelineFileError] = field(default_factory=list)
    warnings: list[PipelineFileError] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    environments: list[str] = field(default_factory=list)
    policy: Policy | None = None
    _sources: dict[str, str] = field(default_factory=dict, repr=False)
    _text: str = field(default="", repr=False)
    _document: Document | None = field(default=None, repr=False)

    def source(self, name: str) -> str:
        """The YAML text of a pipeline, for the Dag's documentation."""
        key = self._sources.get(name, name)
        return extract_entries(self._text, [key], blank=False) or ""

    def error(self, name: str, message: str, job: str | None = None, option: str | None = None) -> PipelineFileError:
        """An error that was found while building the Dag, at its position in the file.

        Args:
            name: the pipeline.
            message: what is wrong.
            job: the job with the error, if any.
            option: the key with the error, if any; if it is not in the file, the job or the pipeline is shown.
        """
        document = self._document or read(self.path, self._text)
        key = self._sources.get(name, name)
        entry = document.value.get(key)
        keys = [key]
        if job is not None and isinstance(entry, dict) and isinstance(jobs := entry.get("jobs"), dict):
            keys += ["jobs", next((known for known in jobs if job == known or job.startswith(f"{known}_")), job)]
        position, _ = document.find([*keys, *([option] if option else [])], key=True)
        return document.error(message, None, position if key in document.value else None, pipeline=name)


def load_file(
    path: str | os.PathLike[str],
    environment: str | None = None,
    only: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> PipelineFile:
    """Load a pipeline file. Errors in the file are returned in `errors`, never raised.

    Args:
        path: a `.yaml` or `.yml` file, or a `.json` file with Sundial process definitions.
        environment: name of the `env` entry to apply.
        only: load this pipeline and as little else as possible; the other pipelines are only listed in `names`.
        root: the topmost folder whose `defaults.yaml` applies. The default is the nearest folder above the file that
            contains `.git`, `.airflowignore` or `airflow.cfg`, or else the file's own folder.
    """
    path = Path(path)
    with _gc_disabled():
        return _load_file(path, environment, only, root)


def check_document(document: Document, folder: Path | None) -> list[PipelineFileError]:
    """Return the errors of a document that is not a file yet, besides its own.

    Args:
        document: the document.
        folder: the folder whose `defaults.yaml` files will apply; None: none do.
    """
    result = PipelineFile(Path(document.path))
    files = _folder_files(folder / "pipeline.yaml", None) if folder is not None else []
    _load(result, [*(_folder_document(found, result) for found in files), document], None)
    return [error for error in result.errors if error not in document.errors]


@contextlib.contextmanager
def _gc_disabled() -> Iterator[None]:
    """Disable the cyclic garbage collector: loading creates no cycles, and collecting would slow it down."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load_file(
    path: Path, environment: str | None, only: str | None, root: str | os.PathLike[str] | None
) -> PipelineFile:
    result = PipelineFile(path)
    text = _text(path, result.errors)
    if text is None:
        return result
    result._text = text  # noqa: SLF001 - same module
    folders = [_folder_document(found, result) for found in _folder_files(path, root)]
    if path.suffix == ".json":
        _load_sundial(result, path, folders, environment)
    elif only is not None:
        part = extract_entries(text, [only], reserved=True)
        if part == "":
            return PipelineFile(path, names=pipeline_names(text), _text=text)
        if part is not None:
            found = PipelineFile(path, errors=list(result.errors), names=pipeline_names(text), _text=text)
            _load(found, [*folders, read(path, part)], environment)
            if not found.errors:
                found.pipelines = {name: found.pipelines[name] for name in found.pipelines if name == only}
                return found
        _load(result, [*folders, read(path, text)], environment)
    else:
        _load(result, [*folders, read(path, text)], environment)
    if only is not None:
        result.pipelines = {name: pipeline for name, pipeline in result.pipelines.items() if name == only}
    return result


def _load_sundial(result: PipelineFile, path: Path, folders: list[Document], environment: str | None) -> None:
    from airflow_batchemr.pipeline_file.importers.document import read_json  # noqa: PLC0415 - rarely needed
    from airflow_batchemr.pipeline_file.importers.sundial import translate  # noqa: PLC0415

    queue = next((queue for folder in reversed(folders) if (queue := _queue(folder))), None)
    document = read_json(path, result._text, lambda data: translate(data, queue))  # noqa: SLF001 - same module
    result._document = document  # noqa: SLF001 - same module
    result.warnings += document.warnings
    _load(result, [*folders, document], environment)
    result.names = list(dict.fromkeys([*document.translation.names.values(), *result.names]))
    result._text = document.yaml()  # noqa: SLF001 - the Dag's documentation shows the translated pipeline


def _queue(folder: Document) -> Any:
    """The default job queue of a folder."""
    batch = folder.value.get("defaults")
    batch = batch.get("batch") if isinstance(batch, dict) else None
    return batch.get("queue") if isinstance(batch, dict) else None


def _text(path: Path, errors: list[PipelineFileError]) -> str | None:
    try:
        status = path.stat()
        if path.suffix in SUFFIXES and not stat.S_ISREG(status.st_mode):  # /dev/stdin has no suffix
            errors.append(PipelineFileError("this is a device or a named pipe, not a file", path=path))
            return None
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        errors.append(PipelineFileError(f"cannot read the file: {error.strerror or error}", path=path))
        return None
    if len(raw) > MAX_FILE:
        message = f"the file has {max(status.st_size, len(raw)):,} bytes; the limit is {MAX_FILE:,}"
        errors.append(PipelineFileError(message, "split it into several files of the same folder", path=path))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        errors.append(
            PipelineFileError("the file is not UTF-8", "save it as UTF-8", path=path, line=line, column=column)
        )
        return None


def _folder_files(path: Path, root: str | os.PathLike[str] | None) -> list[str]:
    """The `defaults.yaml` files that apply to a file, outermost folder first."""
    own = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - called per file: strings are faster
    top = _root_of(own) if root is None else os.path.abspath(root)  # noqa: PTH100
    folders = [own]
    while folders[-1] != top and folders[-1] != os.path.dirname(folders[-1]):  # noqa: PTH120
        folders.append(os.path.dirname(folders[-1]))  # noqa: PTH120
    if folders[-1] != top:
        folders = [own]
    files = (os.path.join(folder, FOLDER_FILE) for folder in reversed(folders))  # noqa: PTH118
    return [file for file in files if os.path.isfile(file)]  # noqa: PTH113


def _root_of(folder: str) -> str:
    """The nearest folder at or above this one with a root marker, else the folder itself."""
    candidate = folder
    while not any(os.path.exists(os.path.join(candidate, name)) for name in _ROOT_MARKERS):  # noqa: PTH110, PTH118
        if candidate == os.path.dirname(candidate):  # noqa: PTH120
            return folder
        candidate = os.path.dirname(candidate)  # noqa: PTH120
    return candidate


def _folder_document(path: str, result: PipelineFile) -> Document:
    errors: list[PipelineFileError] = []
    text = _text(Path(path), errors)
    document = Document(path, "") if text is None else _read_cached(path, text)
    for key in document.value:
        if key not in RESERVED:
            position, _ = document.find([key], key=True)
            message = f"`{key}` is not allowed here: {FOLDER_FILE} may only contain {', '.join(RESERVED)}"
            errors.append(document.error(message, "move it into `defaults:`", position))
    result.errors += errors
    return document


@functools.lru_cache(maxsize=64)
def _read_cached(path: str, text: str) -> Document:
    """Parse a folder's `defaults.yaml` once for all files of the folder; the document is never modified."""
    return read(path, text)


def _load(result: PipelineFile, documents: list[Document], environment: str | None) -> None:
    document = documents[-1]
    for each in documents:
        result.errors += each.errors
    defaults = Defaults(documents, environment)
    result.errors += defaults.errors
    result.environments = list(dict.fromkeys(defaults.environments))
    usable = document.errors_within_pipelines and len(result.errors) == len(document.errors)
    if not result.names:
        result.names = [key for key in document.value if key not in RESERVED]
    foreign, error = dag_factory_error(document)
    if error is not None:
        result.errors.append(error)
    seen = {(error.path, error.line, error.column, error.message) for error in result.errors}
    for key in document.value:
        if key in RESERVED or key in foreign:
            continue
        names = []
        for raw in resolve(document, key, defaults):
            defaults.limit.add_pipeline()
            if defaults.limit.has_too_many_pipelines:
                break
            names.append(raw.name)
            pipeline, found = _check(raw, defaults)
            other = result._sources.setdefault(raw.name, key)  # noqa: SLF001 - same module
            if other != key:
                position, _ = document.find([other], key=True)
                line = f" on line {position.line}" if position is not None else ""
                message = f"the file already defines a pipeline named {raw.name}, in `{other}`{line}"
                found.append(error_at(raw.layers[-1:], (), message, "rename one of them", key=True, pipeline=raw.name))
                result.pipelines.pop(raw.name, None)
                pipeline = None
            for error in found:
                identity = (error.path, error.line, error.column, error.message)
                if identity not in seen:
                    seen.add(identity)
                    (result.errors if error.severity == "error" else result.warnings).append(error)
            if pipeline is not None and usable and key not in document.pipelines_with_errors:
                result.pipelines[raw.name] = pipeline
        if defaults.limit.has_too_many_pipelines:
            message = f"a file can have at most {MAX_PIPELINES:,} pipelines; the others are ignored"
            position, _ = document.find([key], key=True)
            result.errors.append(document.error(message, "split the file", position))
            break
        if names != [key]:
            index = result.names.index(key)
            result.names[index : index + 1] = names
    for problems in (result.errors, result.warnings):
        problems.sort(key=lambda error: (str(error.path) == str(result.path), error.line or 0, error.column or 0))


def _check(raw: RawPipeline, defaults: Defaults) -> tuple[Pipeline | None, list[PipelineFileError]]:
    """Validate a pipeline: the model, None if it has errors, and all errors and warnings."""
    found = list(raw.errors)
    reported: set[tuple[Any, ...]] = set(raw.meant)

    def report(layers: list[Layer], problems: Iterator[Problem] | list[Problem], job: str = "") -> None:
        for problem in problems:
            path = (job, problem.keys)
            if path in reported and problem.severity == "error":
                continue
            if problem.missing and _follows_from_error(reported, job, problem.missing):
                continue
            if problem.severity == "error":
                reported.add(path)
                if problem.meant is not None:
                    reported.add((job, (*problem.keys[:-1], problem.meant)))
            error = error_at(
                layers,
                problem.keys,
                problem.message,
                problem.hint,
                key=problem.key,
                pipeline=raw.name,
                severity=problem.severity,
            )
            found.append(error)

    report(raw.layers, checks.name(raw.name, "pipeline", ()))
    data = dict(raw.data)
    if "clusters" in data and isinstance(data["clusters"], dict):
        base = defaults.job.get("emr")
        if isinstance(base, dict):
            data["clusters"] = {
                name: merge(base, cluster) if isinstance(cluster, dict) else cluster
                for name, cluster in data["clusters"].items()
            }
    jobs: dict[str, Job | None] = {}
    for job in raw.jobs:
        jobs[job.name] = _check_job(job, raw, report)
    shell, problems = validate(Pipeline, {**data, "name": raw.name, "jobs": {}})
    report(raw.layers, problems)
    report(raw.layers, checks.templates(data, checks.PIPELINE_VALUES))
    report(raw.layers, checks.code(data, checks.PIPELINE_VALUES, data.get("params")))
    afters = {job.name: job.data.get("after") for job in raw.jobs}
    layers_of = {job.name: job.layers for job in raw.jobs}
    upstream, problems_by_job = checks.dependencies(afters, raw.groups, jobs, raw.layers[-1].document.value, raw.key)
    for name, problems in problems_by_job.items():
        report(layers_of[name], problems, name)
    valid = {name: job for name, job in jobs.items() if job is not None}
    if shell is None:
        return None, found
    for name, model in valid.items():
        if model.after != upstream[name]:
            valid[name] = model.model_copy(update={"after": upstream[name]})
    pipeline = shell.model_copy(update={"jobs": valid})
    for name, model in valid.items():
        report(layers_of[name], checks.job(model, pipeline), name)
    report(raw.layers, checks.pipeline(pipeline))
    has_errors = any(error.severity == "error" for error in found) or len(valid) < len(jobs)
    return (None if has_errors else pipeline), found


def _follows_from_error(reported: set[tuple[Any, ...]], name: str, missing: tuple[Keys, ...]) -> bool:
    """Whether a value is missing only because of an error in it, or in the job that it is inherited from."""
    paths = (*missing, ("extends",))
    return any(job == name and keys[: len(path)] == path for job, keys in reported for path in paths)


def _check_job(job: RawJob, raw: RawPipeline, report: Any) -> Job | None:
    for key in ("skip_if_succeeded", "aws_conn_id", "region"):
        if key in raw.data and key not in job.data:
            job.data[key] = raw.data[key]
    model, problems = validate(Job, {**job.data, "name": job.name})
    report(job.layers, checks.name(job.name, "job", ()) if job.name != raw.name else [], job.name)
    report(job.layers, problems, job.name)
    report(job.layers, checks.templates(job.data, checks.JOB_VALUES), job.name)
    report(job.layers, checks.code(job.data, checks.JOB_VALUES, raw.data.get("params")), job.name)
    return model
