"""From what stands in the files to whole pipelines: defaults, matrix, extends, variables, the flat form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file import misplaced_keys, vocabulary
from airflow_batchemr.pipeline_file.budget import Budget, size
from airflow_batchemr.pipeline_file.errors import PipelineFileError, Refusal, guess
from airflow_batchemr.pipeline_file.layers import Layer, error_at, merge
from airflow_batchemr.pipeline_file.matrix import combinations
from airflow_batchemr.pipeline_file.models import Job, Pipeline
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import unknown, wrong_values
from airflow_batchemr.pipeline_file.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.reader import Document

_JOB_ONLY = frozenset(vocabulary.JOB) - frozenset(vocabulary.PIPELINE)
_PIPELINE_ONLY = frozenset(vocabulary.PIPELINE) - frozenset(vocabulary.JOB)
_PIPELINE_DATA = frozenset(vocabulary.PIPELINE) - {"matrix", "defaults", "jobs"}


@dataclass
class RawJob:
    """A job before its model is made.

    Attributes:
        name: with the matrix's values, if there is one.
        data: the words of the model.
        layers: where they came from, far to near.
    """

    name: str
    data: dict[str, Any]
    layers: list[Layer]


@dataclass
class RawPipeline:
    """A pipeline before its model is made.

    Attributes:
        name: with the matrix's values, if there is one.
        key: its key in the file.
        data: the words of the model, without its jobs.
        layers: where they came from, far to near.
        jobs: its jobs.
        groups: for a job with a matrix, the jobs that were made of it.
        errors: what went wrong on the way.
        meant: job, and keys of the words that unknown ones probably stand for.
    """

    name: str
    key: str
    data: dict[str, Any]
    layers: list[Layer]
    jobs: list[RawJob] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    errors: list[PipelineFileError] = field(default_factory=list)
    meant: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def error(self, layers: list[Layer], keys: tuple[str | int, ...], refusal: Refusal, *, key: bool = False) -> None:
        """Note a mistake at its place."""
        at = (*keys, *refusal.at)
        self.errors.append(error_at(layers, at, refusal.message, refusal.hint, key=key, pipeline=self.name))


def _without_variables(value: Any) -> Any:
    """What is written out: what a variable brings is known later."""
    if isinstance(value, dict):
        return {key: _without_variables(item) for key, item in value.items() if not _has_variable(item)}
    return value


def _has_variable(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_variable(item) for item in value)
    return isinstance(value, str) and "${" in value


class Defaults:
    """What lies under every pipeline and job of a file, out of its folders' `defaults.yaml` and the file itself.

    Args:
        documents: far to near, the file itself last.
        environment: chooses the entry of each document's `env`.
    """

    def __init__(self, documents: list[Document], environment: str | None) -> None:
        self.layers: list[Layer] = []
        self.errors: list[PipelineFileError] = []
        self.environments: list[str] = []
        merged: dict[str, Any] = {}
        variables: dict[str, Any] = {}
        for document in documents:
            self._vars(document, ("vars",), document.value.get("vars"), variables)
            merged = self._block(document, ("defaults",), document.value.get("defaults"), merged)
            for name, block in self._environments(document):
                if name == environment:
                    rest = {word: value for word, value in block.items() if word != "vars"}
                    self._vars(document, ("env", name, "vars"), block.get("vars"), variables)
                    merged = self._block(document, ("env", name), rest, merged)
                else:
                    self._check(document, ("env", name), block)
        if environment is not None:
            variables.setdefault("environment", environment)
        self.pipeline = {word: value for word, value in merged.items() if word in vocabulary.PIPELINE_DEFAULTS}
        self.job = {word: value for word, value in merged.items() if word in vocabulary.JOB_DEFAULTS}
        self.budget = Budget()
        self.size = size(self.pipeline) + size(self.job)
        self.variables = Variables(variables, self.budget)
        self.has_variables = any(document.has_variables for document in documents)

    def _vars(self, document: Document, keys: tuple[str, ...], found: Any, into: dict[str, Any]) -> None:
        if isinstance(found, dict):
            into.update(found)
        elif found is not None:
            self._add(document, keys, f"expected names and values, not {shown(found)}")

    def _block(self, document: Document, keys: tuple[str, ...], found: Any, under: dict[str, Any]) -> dict[str, Any]:
        if found is None:
            return under
        if not isinstance(found, dict):
            self._add(document, keys, f"expected a mapping, not {shown(found)}")
            return under
        self._check(document, keys, found)
        self.layers.append(Layer(document, keys))
        merged: dict[str, Any] = merge(under, found)
        return merged

    def _environments(self, document: Document) -> list[tuple[str, dict[str, Any]]]:
        found = document.value.get("env")
        if found is None:
            return []
        if not isinstance(found, dict):
            self._add(document, ("env",), f"expected environments by name, like {{prod: …}}, not {shown(found)}")
            return []
        made = []
        for name, block in found.items():
            self.environments.append(str(name))
            if isinstance(block, dict):
                made.append((name, block))
            elif block is not None:
                self._add(
                    document,
                    ("env", name),
                    f"expected the environment's defaults as a mapping, not {shown(block)}",
                    "environment variables of all jobs go under `defaults: {env: …}`",
                )
        return made

    def _check(self, document: Document, keys: tuple[str, ...], block: dict[str, Any]) -> None:
        known = (*vocabulary.DEFAULTS, "vars") if keys[0] == "env" else vocabulary.DEFAULTS
        for word in block:
            if word not in known:
                told = unknown(word, known, (*keys, word))
                message = told.message
                if word in vocabulary.PIPELINE or word in vocabulary.JOB:
                    message = f"`{word}` belongs to one pipeline or job, and has no meaning in {keys[0]}"
                place, _ = document.find((*keys, word), key=True)
                self.errors.append(document.error(message, told.hint, place))
        written = _without_variables(block) if document.has_variables else block
        for model, known_here in ((Job, vocabulary.JOB_DEFAULTS), (Pipeline, vocabulary.PIPELINE_DEFAULTS)):
            part = {word: value for word, value in written.items() if word in known_here}
            for problem in wrong_values(model, {**part, "name": "defaults"}):
                place, _ = document.find((*keys, *problem.keys), key=problem.key)
                self.errors.append(document.error(problem.message, problem.hint, place))

    def _add(self, document: Document, keys: tuple[str, ...], message: str, hint: str | None = None) -> None:
        place, _ = document.find(keys)
        self.errors.append(document.error(message, hint, place))


def assemble(document: Document, key: str, defaults: Defaults) -> Iterator[RawPipeline]:
    """The pipelines that a top-level entry stands for: one, or with a matrix several."""
    entry = document.value[key]
    own = Layer(document, (key,))
    failed = RawPipeline(key, key, {}, [own])
    if _is_word(key, entry):
        refusal = Refusal(
            f"`{key}` is a word of a pipeline, and stands where the names of pipelines stand",
            "write a name of your own and `:` above, and indent what belongs to it",
        )
        failed.error([own], (), refusal, key=True)
        yield failed
        return
    if not isinstance(entry, dict):
        hint = "write its words below it: schedule, batch, …"
        failed.error([own], (), Refusal(f"expected a pipeline as a mapping, not {shown(entry)}", hint))
        yield failed
        return
    if "matrix" not in entry:
        yield _pipeline(key, own, defaults, defaults.variables)
        return
    try:
        matrix = _matrix(entry["matrix"], defaults.variables, defaults)
        variants = combinations(matrix)
    except Refusal as refusal:
        failed.error([own], ("matrix",), refusal)
        yield failed
        return
    for end, axes in variants:
        yield _pipeline(f"{key}_{end}", own, defaults, defaults.variables.with_(axes))


def _is_word(key: str, entry: Any) -> bool:
    """Whether a top-level entry is no pipeline but a word of one, whose name was forgotten."""
    known = {*vocabulary.PIPELINE, *vocabulary.JOB}
    return key in known and not (isinstance(entry, dict) and any(word in known for word in entry))


def _matrix(matrix: Any, variables: Variables, defaults: Defaults) -> Any:
    if not defaults.has_variables:
        return matrix

    def report(keys: tuple[str | int, ...], refusal: Refusal) -> None:
        raise Refusal(refusal.message, refusal.hint, (*keys, *refusal.at))

    return variables.fill(matrix, report)


def _pipeline(name: str, own: Layer, defaults: Defaults, variables: Variables) -> RawPipeline:
    key = str(own.keys[0])
    entry = own.document.value[key]
    made = RawPipeline(name, key, {}, [*defaults.layers, own])
    flat = "jobs" not in entry
    _check_words(made, own, entry, flat=flat)
    variables = variables.with_({"pipeline": name})
    words_here = {word: value for word, value in entry.items() if word in _PIPELINE_DATA}
    words_here = _filled(made, made.layers, words_here, variables, defaults)
    made.data = merge(_filled(made, made.layers, defaults.pipeline, variables, defaults), words_here)
    builder = _Jobs(made, entry, own, defaults, variables)
    if flat:
        rest = {word: value for word, value in entry.items() if word in _JOB_ONLY or word == "deadline"}
        builder.add(name, rest, [own])
    else:
        builder.add_all()
    return made


def _filled(
    made: RawPipeline, layers: list[Layer], data: dict[str, Any], variables: Variables, defaults: Defaults
) -> dict[str, Any]:
    if not defaults.has_variables:
        return data
    filled: dict[str, Any] = variables.fill(data, lambda keys, refusal: made.error(layers, keys, refusal))
    return filled


def _check_words(made: RawPipeline, own: Layer, entry: dict[str, Any], *, flat: bool) -> None:
    for word in entry:
        if word in vocabulary.PIPELINE or (flat and word in _JOB_ONLY and word != "extends"):
            continue
        if word in _JOB_ONLY:
            hint = "put it into a job, or under `defaults:` for all jobs of the pipeline"
            if word in ("after", "extends"):
                hint = "put it into a job under `jobs:`"
            made.error([own], (word,), Refusal(f"`{word}` is a word of a job", hint), key=True)
            continue
        known = tuple(dict.fromkeys((*vocabulary.PIPELINE, *(vocabulary.JOB if flat else ()))))
        message, hint_of, meant = misplaced_keys.told(word, known)
        made.meant.add((made.name, (meant,)))
        made.error([own], (word,), Refusal(message, hint_of), key=True)


class _Jobs:
    """The jobs of one pipeline."""

    def __init__(
        self, made: RawPipeline, entry: dict[str, Any], own: Layer, defaults: Defaults, variables: Variables
    ) -> None:
        self.made = made
        self.entry = entry
        self.own = own
        self.defaults = defaults
        self.variables = variables
        self.names: set[str] = set()
        self.full = False
        self.under = defaults.job
        self.layers = defaults.layers
        mine = entry.get("defaults")
        if isinstance(mine, dict):
            self.layers = [*self.layers, Layer(own.document, (*own.keys, "defaults"))]
            for word in mine:
                if word not in vocabulary.JOB_DEFAULTS and word not in vocabulary.SHARED:
                    told = unknown(word, tuple(sorted(vocabulary.JOB_DEFAULTS)), ())
                    made.error([own], ("defaults", word), Refusal(told.message, told.hint), key=True)
            self.under = merge(self.under, {word: value for word, value in mine.items() if word != "matrix"})
        elif mine is not None:
            made.error([own], ("defaults",), Refusal(f"expected a mapping, not {shown(mine)}"))

    def add_all(self) -> None:
        """All entries of `jobs`."""
        jobs = self.entry["jobs"]
        if not isinstance(jobs, dict):
            hint = "write `jobs:` and below it `name:` for each job"
            self.made.error([self.own], ("jobs",), Refusal(f"expected jobs by name, not {shown(jobs)}", hint))
            return
        if not jobs:
            self.made.error([self.own], ("jobs",), Refusal("the pipeline has no jobs"))
        for name, job in jobs.items():
            if self.full:
                break
            self._add(str(name), job, jobs)

    def _add(self, name: str, job: Any, jobs: dict[str, Any]) -> None:
        layer = Layer(self.own.document, (*self.own.keys, "jobs", name))
        if not isinstance(job, dict):
            hint = "write its words below it: batch, emr, spark, after, …"
            self.made.error([layer], (), Refusal(f"expected a job as a mapping, not {shown(job)}", hint))
            return
        for word in job:
            if word not in vocabulary.JOB:
                message, hint_of, meant = misplaced_keys.told(word, vocabulary.JOB)
                self.made.meant.add((name, (meant,)))
                if word in _PIPELINE_ONLY:
                    message, hint_of = f"`{word}` is a word of the pipeline", "write it beside `jobs:`"
                self.made.error([layer], (word,), Refusal(message, hint_of), key=True)
        known = {word: value for word, value in job.items() if word in vocabulary.JOB}
        layers = [layer]
        if "extends" in job:
            try:
                known, layers = self._extended(name, known, layer, jobs)
            except Refusal as refusal:
                self.made.error([layer], ("extends",), refusal)
                self.full = True
                return
        if "matrix" not in known:
            self.add(name, known, layers)
            return
        try:
            matrix = _matrix(known["matrix"], self.variables, self.defaults)
            variants = combinations(matrix)
        except Refusal as refusal:
            self.made.error([layer], ("matrix",), refusal)
            return
        self.made.groups[name] = [f"{name}_{end}" for end, _ in variants]
        for end, axes in variants:
            if self.full:
                break
            self.add(f"{name}_{end}", known, layers, axes)

    def _extended(
        self, name: str, job: dict[str, Any], layer: Layer, jobs: dict[str, Any]
    ) -> tuple[dict[str, Any], list[Layer]]:
        """A job laid on the one that it extends; `after` and `matrix` are not taken over."""
        data, layers, seen = job, [layer], [name]
        base = job.get("extends")
        while base is not None:
            here = layers[0]
            if not isinstance(base, str):
                self._not_extended(name, here, Refusal(f"expected the name of a job, not {shown(base)}"))
                break
            if base in seen:
                circle = " → ".join([*seen[seen.index(base) :], base])
                self._not_extended(name, here, Refusal(f"the jobs extend each other in a circle: {circle}"))
                break
            found = jobs.get(base)
            if not isinstance(found, dict):
                hint = guess(base, [str(other) for other in jobs])
                self._not_extended(name, here, Refusal(f"no job `{base}` in this pipeline", hint))
                break
            self.defaults.budget.spend(size(found))
            taken = {word: value for word, value in found.items() if word not in ("after", "matrix", "extends")}
            data = merge({word: value for word, value in taken.items() if word in vocabulary.JOB}, data)
            layers.insert(0, Layer(self.own.document, (*self.own.keys, "jobs", base)))
            seen.append(base)
            base = found.get("extends")
        return data, layers

    def _not_extended(self, name: str, here: Layer, refusal: Refusal) -> None:
        self.made.meant.add((name, ("extends",)))
        self.made.error([here], ("extends",), refusal)

    def add(self, name: str, job: dict[str, Any], layers: list[Layer], axes: dict[str, Any] | None = None) -> None:
        """One job, with its defaults merged and its variables filled in."""
        layers = [*self.layers, *layers]
        if name in self.names:
            self.made.error(layers[-1:], (), Refusal(f"there is another job named {name}", "rename one"), key=True)
        self.names.add(name)
        try:
            self.defaults.budget.job(len(self.names))
            self.defaults.budget.spend(self.defaults.size)
        except Refusal as refusal:
            self.made.error(layers[-1:], (), refusal, key=True)
            self.full = True
            return
        variables = self.variables
        if self.defaults.has_variables:
            variables = variables.with_({"job": name, **(axes or {})})
        data = {word: value for word, value in job.items() if word not in ("extends", "matrix")}
        data = _filled(self.made, layers, data, variables, self.defaults)
        if self.under:
            under = _filled(self.made, layers, _defaults_for(self.under, data), variables, self.defaults)
            data = merge(under, data)
        self.made.jobs.append(RawJob(name, data, layers))


def _defaults_for(under: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """The defaults that fit a job: blocks only where the job has such a block."""
    taken = {}
    emr = job.get("emr")
    for word, value in under.items():
        if word in vocabulary.BLOCKS:
            if not isinstance(job.get(word), dict):
                continue
            if word == "emr" and isinstance(emr, dict) and not emr.keys().isdisjoint(_EXISTING):
                continue
        elif word in vocabulary.EMR_WORDS and emr is None and "spark" not in job:
            continue
        taken[word] = value
    return taken


_EXISTING = frozenset(("cluster", "cluster_id", "cluster_name"))
