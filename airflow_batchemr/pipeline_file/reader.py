"""YAML with places: plain values for the models, and nodes that know line and column for the errors.

YAML 1.2's scalars are read (`on`, `yes`, `012` and `1:30` are text), because 1.1's surprise people in
environment variables and account numbers. Tags, duplicate keys and endless aliases are errors.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.source_position import SourcePosition
from airflow_batchemr.pipeline_file.vocabulary import RESERVED
from airflow_batchemr.pipeline_file.yaml_errors import syntax, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

_EMPTY = ("the file is empty", "a pipeline is a top-level entry: `name:`")
#: Bytes; a file of 1,000 pipelines has about half a million.
MAX_FILE = 8 * 1024**2
#: Values in a file when its aliases are written out.
MAX_VALUES = 2_000_000
#: Mappings and lists in one another; libyaml's composer uses the C stack for each.
MAX_DEPTH = 64
_MAX_BRACKETS = 2_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?|[0-9]{1,18}[eE][-+]?[0-9]{1,3})"
)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("-+.0123456789")
_TAG = "tag:yaml.org,2002:"
_STR, _PLAIN, _MAP, _SEQ = f"{_TAG}str", f"{_TAG}plain", f"{_TAG}map", f"{_TAG}seq"


class WrittenFloat(float):
    """A number that keeps how it was written, so that a version `1.10` is not turned into `1.1`."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Self:
        """The number that the text stands for."""
        made = super().__new__(cls, written)
        made.written = written
        return made

    def __repr__(self) -> str:
        return self.written

    __str__ = __repr__

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        """For copies and pickles."""
        return (self.written,)


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Composer(_Base):  # type: ignore[misc]
    """Nodes without YAML 1.1's guessing of types: plain scalars get a tag of their own."""

    def resolve(self, kind: type, value: str | None, implicit: Any) -> str:  # noqa: ARG002 - PyYAML's signature
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STR
        return _MAP if kind is yaml.MappingNode else _SEQ

    def descend_resolver(self, *_: Any) -> None:
        """Paths play no part."""

    def ascend_resolver(self) -> None:
        """Paths play no part."""


def scalar(text: str) -> str | int | float | bool | None:
    """What a plain (unquoted) scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_STARTS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = WrittenFloat(text)
            return number if math.isfinite(number) else text
    return text


@dataclass
class Document:
    """A file that was read.

    Attributes:
        path: the file.
        text: its text.
        value: its top-level mapping as plain values; empty if it could not be read.
        root: its top-level node.
        errors: what is wrong with it as YAML.
    """

    path: Path | str
    text: str
    value: dict[str, Any] = field(default_factory=dict)
    root: Any = None
    errors: list[PipelineFileError] = field(default_factory=list)

    @property
    def has_variables(self) -> bool:
        """Whether there may be a `${…}` or a `$${` in it."""
        return "${" in self.text

    @property
    def broken(self) -> set[str]:
        """The pipelines that the errors lie in; `sound` tells whether there are others."""
        return {error.pipeline for error in self.errors if error.pipeline is not None}

    @property
    def sound(self) -> bool:
        """Whether all errors lie in single pipelines, so that the others can be used."""
        return all(error.pipeline is not None for error in self.errors)

    def error(
        self, message: str, hint: str | None = None, place: SourcePosition | None = None, **more: Any
    ) -> PipelineFileError:
        """An error at a place in this file."""
        if place is None:
            return PipelineFileError(message, hint, path=self.path, **more)
        lines = self.text.splitlines() if "\x85" not in self.text else self.text.split("\n")
        source = lines[place.line - 1] if place.line <= len(lines) else ""
        return PipelineFileError(
            message,
            hint,
            path=self.path,
            line=place.line,
            column=place.column,
            source=source,
            width=place.width,
            **more,
        )

    def find(self, keys: Sequence[str | int], *, key: bool = False) -> tuple[SourcePosition | None, int]:
        """The place of a value, or of its key; where it is not there, of the nearest one above.

        Returns:
            the place, and how many of the keys were found.
        """
        if self.root is None:
            return None, 0
        node, key_node, depth = self.root, None, 0
        for step in keys:
            found = _child(node, step)
            if found is not None:
                key_node, node = found
            elif not _is_short_form(node, step):
                break
            depth += 1
        if isinstance(node, yaml.ScalarNode) and not node.value and node.tag == _PLAIN and key_node is not None:
            node = key_node  # nothing stands after the colon
        short_form = depth < len(keys) and isinstance(node, yaml.ScalarNode) and bool(node.value)
        if key_node is not None and not short_form and (key or depth < len(keys) or _is_block(node)):
            node = key_node
        elif key_node is None and node is self.root and not depth:
            return SourcePosition(1, 1), 0
        return place_of(node), depth


def place_of(node: Any) -> SourcePosition:
    """Where a node begins."""
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return SourcePosition(start.line + 1, start.column + 1, max(1, width))


def _is_block(node: Any) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style and bool(node.value)


def _is_short_form(node: Any, step: str | int) -> bool:
    """Whether a value stands for a list of it alone, or a list for a mapping that holds it (`all`)."""
    if isinstance(step, int):
        return isinstance(node, yaml.MappingNode)
    return isinstance(node, yaml.SequenceNode) and step == "all"


def _child(node: Any, step: str | int) -> tuple[Any, Any] | None:
    """Key node and value node (for a list: None twice over is not needed, the item stands for itself)."""
    if isinstance(node, yaml.SequenceNode):
        if isinstance(step, int) and step < len(node.value):
            return node.value[step], node.value[step]
        return None
    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[Any] = []
    for key, value in node.value:
        if key.value == step:
            return key, value
        if key.value == "<<" and key.tag == _PLAIN:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    for base in merged:
        found = _child(base, step)
        if found is not None:
            return found
    return None


def read(path: Path | str, text: str) -> Document:
    """Read YAML; whatever is wrong with it is in `errors`."""
    document = Document(path, text)
    problem = _too_deep(text)
    if problem:
        document.errors.append(document.error(problem, "write it flatter"))
        return document
    try:
        document.root = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        document.errors.append(syntax(document, error))
        return document
    except yaml.YAMLError as error:
        document.errors.append(unreadable(document, error))
        return document
    if document.root is None:
        document.errors.append(document.error(_EMPTY[0], _EMPTY[1], SourcePosition(1, 1)))
        return document
    if not isinstance(document.root, yaml.MappingNode):
        message = "expected pipelines by name at the top of the file"
        document.errors.append(
            document.error(message, "write `name:` and the pipeline below it", place_of(document.root))
        )
        document.root = None
        return document
    if "&" in text and "*" in text and _is_too_large(document):
        return document
    document.value = _Values(document).all()
    if not document.value and not document.errors:
        document.errors.append(document.error(_EMPTY[0], _EMPTY[1], SourcePosition(1, 1)))
    return document


def nodes_of(text: str) -> Any:
    """The top-level node of a text that another reader has found sound (JSON), for its places; None if YAML differs."""
    try:
        return None if _too_deep(text) else _Composer(text).get_single_node()
    except yaml.YAMLError:
        return None


def _too_deep(text: str) -> str | None:
    """Libyaml's composer recurses in C without a bound: refuse what could exhaust the stack before it sees it."""
    message = f"lists and mappings may lie at most {MAX_DEPTH} deep in one another"
    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        depth = 0
        for bracket in re.findall(r"[\[\]{}]", text):
            depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
            if depth > _MAX_BRACKETS:
                return message
    return message if re.search(rf"(?:[-?:]\s+){{{_MAX_BRACKETS}}}", text) else None


def _is_too_large(document: Document) -> bool:
    """Count the values as if each alias were written out; a shared node is visited once."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any, depth: int) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise _EndlessError(node)
        if depth > MAX_DEPTH:
            return 1
        open_nodes.add(id(node))
        parts = (item for pair in node.value for item in pair) if isinstance(node, yaml.MappingNode) else node.value
        total = 1 + sum(size(part, depth + 1) for part in parts)
        open_nodes.discard(id(node))
        sizes[id(node)] = total
        return total

    try:
        total = size(document.root, 0)
    except _EndlessError as error:
        document.errors.append(document.error("the anchor contains itself", None, place_of(error.node)))
        return True
    if total > MAX_VALUES:
        message = f"with its aliases written out the file has {total:,} values, more than {MAX_VALUES:,}"
        largest = max(document.root.value, key=lambda entry: sizes.get(id(entry[1]), 1))[0]
        document.errors.append(document.error(message, "split the file", place_of(largest)))
        return True
    return False


class _EndlessError(Exception):
    def __init__(self, node: Any) -> None:
        super().__init__()
        self.node = node


class _Values:
    """Plain values out of nodes."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.pipeline: str | None = None

    def all(self) -> dict[str, Any]:
        """The whole file; a mistake in one pipeline is that pipeline's."""
        root = self.document.root
        if root.tag != _MAP:
            self._refuse_tag(root)
        return self._mapping(root, 0, top=True)

    def of(self, node: Any, depth: int) -> Any:
        tag = node.tag
        if type(node) is yaml.ScalarNode:
            if tag is _PLAIN or tag == _PLAIN:
                return scalar(node.value)
            if tag != _STR:
                self._refuse_tag(node)
            return node.value
        if depth > MAX_DEPTH:
            self._add(f"lists and mappings may lie at most {MAX_DEPTH} deep in one another", "write it flatter", node)
            return None
        if type(node) is yaml.SequenceNode:
            if tag != _SEQ:
                self._refuse_tag(node)
            return [self.of(item, depth + 1) for item in node.value]
        if tag != _MAP:
            self._refuse_tag(node)
        return self._mapping(node, depth)

    def _mapping(self, node: Any, depth: int, *, top: bool = False) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key, value in node.value:
            if type(key) is not yaml.ScalarNode:
                hint = "a template stands in quotes: '{{ ds }}'" if isinstance(key, yaml.MappingNode) else None
                self._add("a key must be a single word or text", hint, key)
                continue
            name = key.value
            if name == "<<" and key.tag == _PLAIN:
                merged += self._merged(value, depth)
                continue
            if top:
                self.pipeline = name if name not in RESERVED else None
            if name in made:
                self._duplicate(node, key)
            made[name] = self.of(value, depth + 1)
        for base in merged:
            for name, item in base.items():
                made.setdefault(name, item)
        return made

    def _merged(self, node: Any, depth: int) -> list[dict[str, Any]]:
        made = []
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(item, yaml.MappingNode):
                made.append(self._mapping(item, depth + 1))
            else:
                self._add("`<<` takes a mapping, or a list of mappings", "refer to an anchor: `<<: *name`", item)
        return made

    def _duplicate(self, node: Any, key: Any) -> None:
        first = next(other for other, _ in node.value if other.value == key.value)
        self._add(f"`{key.value}` is there twice; the first is in line {first.start_mark.line + 1}", None, key)

    def _refuse_tag(self, node: Any) -> None:
        if node.tag.startswith(_TAG):
            tag = f"!!{node.tag.removeprefix(_TAG)}"
            if tag == "!!str":
                return
        else:
            tag = node.tag
        self._add(f"YAML tags have no meaning here: {tag}", "remove the tag; quote what shall be text", node)

    def _add(self, message: str, hint: str | None, node: Any) -> None:
        self.document.errors.append(self.document.error(message, hint, place_of(node), pipeline=self.pipeline))
