"""Reading a pipeline file: `load_file`."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file import checks
from airflow_batchemr.pipeline_file.assemble import Defaults, RawJob, RawPipeline, assemble
from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.finding import FOLDER_FILE
from airflow_batchemr.pipeline_file.layers import Layer, error_at, merge
from airflow_batchemr.pipeline_file.models import Job, Pipeline
from airflow_batchemr.pipeline_file.reader import MAX_FILE, Document, read
from airflow_batchemr.pipeline_file.slicing import names_in, slice_text
from airflow_batchemr.pipeline_file.validation import Keys, Problem, validate
from airflow_batchemr.pipeline_file.vocabulary import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A folder with one of these is the top: no `defaults.yaml` is looked for above it.
_TOPS = (".git", ".airflowignore", "airflow.cfg")


@dataclass
class PipelineFile:
    """What a pipeline file says.

    Attributes:
        path: the file.
        pipelines: those without errors, by name; defaults merged, everything resolved.
        errors: all that is wrong, in the order of the file.
        warnings: what is legal but surely not meant, and what changes in meaning in another system's file.
        names: all pipelines, the broken ones too.
        environments: those of `env:`, of the file and of its folders.
    """

    path: Path
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    errors: list[PipelineFileError] = field(default_factory=list)
    warnings: list[PipelineFileError] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    environments: list[str] = field(default_factory=list)
    _sources: dict[str, str] = field(default_factory=dict, repr=False)
    _text: str = field(default="", repr=False)

    def source(self, name: str) -> str:
        """The text of a pipeline as it stands in the file, for its doc page."""
        key = self._sources.get(name, name)
        return slice_text(self._text, [key], blank=False) or ""

    def error(self, name: str, message: str, job: str | None = None, word: str | None = None) -> PipelineFileError:
        """A mistake that came to light when the Dag was made, at its place.

        Args:
            name: the pipeline.
            message: what is wrong.
            job: whose it is, if it is a job's.
            word: that it is about; where it stands nowhere, the place is the job's or the pipeline's.
        """
        document = read(self.path, self._text if self.path.suffix != ".json" else "")
        key = self._sources.get(name, name)
        entry = document.value.get(key, {})
        keys = [key]
        if job is not None and isinstance(jobs := entry.get("jobs"), dict):
            keys += ["jobs", next((one for one in jobs if job == one or job.startswith(f"{one}_")), job)]
        place, _ = document.find([*keys, *([word] if word else [])], key=True)
        return document.error(message, None, place if entry else None, pipeline=name)


def load_file(
    path: str | os.PathLike[str],
    environment: str | None = None,
    only: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> PipelineFile:
    """Read a pipeline file; what the user wrote is never raised but told in `errors`.

    Args:
        path: a `.yaml` or `.yml` file; a `.json` file is Sundial's.
        environment: chooses among the file's `env:`.
        only: read as little as this one pipeline needs; the others are in `names` alone.
        root: the topmost folder whose `defaults.yaml` counts; without it the nearest folder above the
            file that has a `.git` or an `.airflowignore`, or else the file's own folder.
    """
    path = Path(path)
    with _no_collector():
        return _load_file(path, environment, only, root)


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Without Python's cycle collector: what is made here has no cycles, and looking for some takes longer."""
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
    spec = PipelineFile(path)
    text = _text(path, spec.errors)
    if text is None:
        return spec
    spec._text = text  # noqa: SLF001 - its own
    folders = [_document(found, spec) for found in _folder_files(path, root)]
    if path.suffix == ".json":
        _load_sundial(spec, path, folders, environment)
    elif only is not None:
        part = slice_text(text, [only], reserved=True)
        if part == "":
            return PipelineFile(path, names=names_in(text), _text=text)
        if part is not None:
            found = PipelineFile(path, errors=list(spec.errors), names=names_in(text), _text=text)
            _load(found, [*folders, read(path, part)], environment)
            if not found.errors:
                found.pipelines = {name: found.pipelines[name] for name in found.pipelines if name == only}
                return found
        _load(spec, [*folders, read(path, text)], environment)
    else:
        _load(spec, [*folders, read(path, text)], environment)
    if only is not None:
        spec.pipelines = {name: pipeline for name, pipeline in spec.pipelines.items() if name == only}
    return spec


def _load_sundial(spec: PipelineFile, path: Path, folders: list[Document], environment: str | None) -> None:
    from airflow_batchemr.pipeline_file.importers.document import read_json  # noqa: PLC0415 - few files are Sundial's
    from airflow_batchemr.pipeline_file.importers.sundial import translate  # noqa: PLC0415

    queue = next((queue for folder in reversed(folders) if (queue := _queue(folder))), None)
    document = read_json(path, spec._text, lambda data: translate(data, queue))  # noqa: SLF001 - its own
    spec.warnings += document.warnings
    _load(spec, [*folders, document], environment)
    spec.names = list(dict.fromkeys([*document.translation.names.values(), *spec.names]))
    spec._text = document.yaml()  # noqa: SLF001 - the doc page shows what the file stands for


def _queue(folder: Document) -> Any:
    """The job queue of a folder's defaults."""
    batch = folder.value.get("defaults")
    batch = batch.get("batch") if isinstance(batch, dict) else None
    return batch.get("queue") if isinstance(batch, dict) else None


def _text(path: Path, errors: list[PipelineFileError]) -> str | None:
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            message = f"the file has {size:,} bytes, more than {MAX_FILE:,}"
            errors.append(PipelineFileError(message, "split it: each file of a folder is read by itself", path=path))
            return None
        raw = path.read_bytes()
    except OSError as error:
        errors.append(PipelineFileError(f"cannot be read: {error.strerror or error}", path=path))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        errors.append(PipelineFileError("not UTF-8", "save the file as UTF-8", path=path, line=line, column=column))
        return None


def _folder_files(path: Path, root: str | os.PathLike[str] | None) -> list[str]:
    """The `defaults.yaml` that count for a file, far to near."""
    own = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - for each file of thousands: text is faster
    top = _top(own) if root is None else os.path.abspath(root)  # noqa: PTH100
    inside = [own]
    while inside[-1] != top and inside[-1] != os.path.dirname(inside[-1]):  # noqa: PTH120
        inside.append(os.path.dirname(inside[-1]))  # noqa: PTH120
    if inside[-1] != top:
        inside = [own]
    files = (os.path.join(folder, FOLDER_FILE) for folder in reversed(inside))  # noqa: PTH118
    return [file for file in files if os.path.isfile(file)]  # noqa: PTH113


def _top(folder: str) -> str:
    """The nearest folder above that is the top of something, else the folder itself."""
    above = folder
    while not any(os.path.exists(os.path.join(above, name)) for name in _TOPS):  # noqa: PTH110, PTH118
        if above == os.path.dirname(above):  # noqa: PTH120
            return folder
        above = os.path.dirname(above)  # noqa: PTH120
    return above


def _document(path: str, spec: PipelineFile) -> Document:
    errors: list[PipelineFileError] = []
    text = _text(Path(path), errors)
    document = Document(path, "") if text is None else _read_once(path, text)
    for word in document.value:
        if word not in RESERVED:
            place, _ = document.find([word], key=True)
            message = f"`{word}` cannot stand here: a {FOLDER_FILE} holds only {', '.join(RESERVED)}"
            errors.append(document.error(message, "put it under `defaults:`", place))
    spec.errors += errors
    return document


@functools.lru_cache(maxsize=64)
def _read_once(path: str, text: str) -> Document:
    """A folder's file is read for each file in the folder, and parsed for the first; nobody changes it."""
    return read(path, text)


def _load(spec: PipelineFile, documents: list[Document], environment: str | None) -> None:
    document = documents[-1]
    for each in documents:
        spec.errors += each.errors
    defaults = Defaults(documents, environment)
    spec.errors += defaults.errors
    spec.environments = list(dict.fromkeys(defaults.environments))
    whole = document.sound and len(spec.errors) == len(document.errors)
    if not spec.names:
        spec.names = [key for key in document.value if key not in RESERVED]
    seen = {(error.path, error.line, error.column, error.message) for error in spec.errors}
    for key in document.value:
        if key in RESERVED:
            continue
        made = []
        for raw in assemble(document, key, defaults):
            made.append(raw.name)
            pipeline, found = _checked(raw, defaults)
            other = spec._sources.setdefault(raw.name, key)  # noqa: SLF001 - its own
            if other != key:
                message = f"there is another pipeline named {raw.name}, of `{other}`"
                found.append(error_at(raw.layers[-1:], (), message, "rename one", key=True, pipeline=raw.name))
                spec.pipelines.pop(raw.name, None)
                pipeline = None
            for error in found:
                told = (error.path, error.line, error.column, error.message)
                if told not in seen:
                    seen.add(told)
                    (spec.errors if error.severity == "error" else spec.warnings).append(error)
            if pipeline is not None and whole and key not in document.broken:
                spec.pipelines[raw.name] = pipeline
        if made != [key]:
            place = spec.names.index(key)
            spec.names[place : place + 1] = made
    for told_of in (spec.errors, spec.warnings):
        told_of.sort(key=lambda error: (str(error.path) == str(spec.path), error.line or 0, error.column or 0))


def _checked(raw: RawPipeline, defaults: Defaults) -> tuple[Pipeline | None, list[PipelineFileError]]:
    """The pipeline if nothing is wrong with it, and all that is to be told."""
    found = list(raw.errors)
    wrong: set[tuple[Any, ...]] = set(raw.meant)

    def tell(layers: list[Layer], problems: Iterator[Problem] | list[Problem], name: str = "") -> None:
        for problem in problems:
            where = (name, problem.keys)
            if where in wrong and problem.severity == "error":
                continue
            if problem.nothing_of and _is_told(wrong, name, problem.nothing_of):
                continue
            if problem.severity == "error":
                wrong.add(where)
                if problem.meant is not None:
                    wrong.add((name, (*problem.keys[:-1], problem.meant)))
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

    tell(raw.layers, checks.name(raw.name, "pipeline", ()))
    data = dict(raw.data)
    if "clusters" in data and isinstance(data["clusters"], dict):
        under = defaults.job.get("emr")
        if isinstance(under, dict):
            data["clusters"] = {
                name: merge(under, cluster) if isinstance(cluster, dict) else cluster
                for name, cluster in data["clusters"].items()
            }
    jobs: dict[str, Job | None] = {}
    for job in raw.jobs:
        jobs[job.name] = _job(job, raw, tell)
    shell, problems = validate(Pipeline, {**data, "name": raw.name, "jobs": {}})
    tell(raw.layers, problems)
    afters = {job.name: job.data.get("after") for job in raw.jobs}
    places = {job.name: job.layers for job in raw.jobs}
    ordered, problems_of = checks.order(
        afters, raw.groups, jobs, raw.layers[-1].document.value.keys() - {raw.key, *RESERVED}
    )
    for name, told in problems_of.items():
        tell(places[name], told, name)
    sound = {name: job for name, job in jobs.items() if job is not None}
    if shell is None:
        return None, found
    for name, model in sound.items():
        if model.after != ordered[name]:
            sound[name] = model.model_copy(update={"after": ordered[name]})
    pipeline = shell.model_copy(update={"jobs": sound})
    for name, model in sound.items():
        tell(places[name], checks.job(model, pipeline), name)
    tell(raw.layers, checks.pipeline(pipeline))
    broken = any(error.severity == "error" for error in found) or len(sound) < len(jobs)
    return (None if broken else pipeline), found


def _is_told(wrong: set[tuple[Any, ...]], name: str, nothing_of: tuple[Keys, ...]) -> bool:
    """Whether something is missing only because it, or what it would have come from, is wrong."""
    sought = (*nothing_of, ("extends",))
    return any(job == name and keys[: len(each)] == each for job, keys in wrong for each in sought)


def _job(job: RawJob, raw: RawPipeline, tell: Any) -> Job | None:
    for word in ("skip_if_succeeded", "aws_conn_id", "region"):
        if word in raw.data and word not in job.data:
            job.data[word] = raw.data[word]
    model, problems = validate(Job, {**job.data, "name": job.name})
    tell(job.layers, checks.name(job.name, "job", ()) if job.name != raw.name else [], job.name)
    tell(job.layers, problems, job.name)
    return model
