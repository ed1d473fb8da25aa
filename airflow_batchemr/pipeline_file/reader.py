"""Read YAML into plain values, and keep the nodes to find the line and column of each value.

Scalars follow YAML 1.2 (`on`, `yes`, `012` and `1:30` are text), because those of YAML 1.1 cause surprises in
environment variables and account numbers. Tags, duplicate keys and recursive aliases are errors.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.known_keys import RESERVED
from airflow_batchemr.pipeline_file.source_position import SourcePosition
from airflow_batchemr.pipeline_file.yaml_errors import syntax, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

_EMPTY = ("the file is empty", "add a pipeline as a top-level entry: `name:`")
#: Maximum size of a file in bytes. A file with 1,000 pipelines has about half a million.
MAX_FILE = 8 * 1024**2
#: Maximum number of values in a file after expanding its aliases.
MAX_VALUES = 2_000_000
#: Maximum nesting of mappings and lists; libyaml's composer uses the C stack for each level.
MAX_DEPTH = 64
_MAX_BRACKETS = 2_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?|[0-9]{1,18}[eE][-+]?[0-9]{1,3})"
)
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("-+.0123456789")
_TAG = "tag:yaml.org,2002:"
_STR, _PLAIN, _MAP, _SEQ = f"{_TAG}str", f"{_TAG}plain", f"{_TAG}map", f"{_TAG}seq"


class WrittenFloat(float):
    """A float that keeps its notation, so that the version `1.10` does not become `1.1`."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Self:
        """Parse the text."""
        number = super().__new__(cls, written)
        number.written = written
        return number

    def __repr__(self) -> str:
        return self.written

    __str__ = __repr__

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        """Support copying and pickling."""
        return (self.written,)


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Composer(_Base):  # type: ignore[misc]
    """Composes nodes without the type resolution of YAML 1.1: plain scalars get a separate tag."""

    def resolve(self, kind: type, value: str | None, implicit: Any) -> str:  # noqa: ARG002 - PyYAML's signature
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STR
        return _MAP if kind is yaml.MappingNode else _SEQ

    def descend_resolver(self, *_: Any) -> None:
        """Path resolvers are not used."""

    def ascend_resolver(self) -> None:
        """Path resolvers are not used."""


def scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain (unquoted) scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in _NUMBER_STARTS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = WrittenFloat(text)
            return number if math.isfinite(number) else text
    return text


@dataclass
class Document:
    """A parsed file.

    Attributes:
        path: the file.
        text: its text.
        value: its top-level mapping as plain values; empty if it could not be parsed.
        root: its top-level node.
        errors: YAML errors.
    """

    path: Path | str
    text: str
    value: dict[str, Any] = field(default_factory=dict)
    root: Any = None
    errors: list[PipelineFileError] = field(default_factory=list)

    @functools.cached_property
    def _entries(self) -> dict[str | int, tuple[Any, Any]]:
        """The nodes of the top-level keys: searching them for each of thousands of errors would take minutes."""
        entries = self.root.value if isinstance(self.root, yaml.MappingNode) else []
        return {entry[0].value: entry for entry in reversed(entries) if isinstance(entry[0], yaml.ScalarNode)}

    @functools.cached_property
    def _lines(self) -> list[str]:
        return self.text.splitlines() if "\x85" not in self.text else self.text.split("\n")

    @property
    def has_variables(self) -> bool:
        """Whether the file may contain a variable."""
        return "${" in self.text

    @property
    def pipelines_with_errors(self) -> set[str]:
        """Keys of the top-level entries that contain errors."""
        return {error.pipeline for error in self.errors if error.pipeline is not None}

    @property
    def errors_within_pipelines(self) -> bool:
        """Whether every error is inside a pipeline, so that the other pipelines can be used."""
        return all(error.pipeline is not None for error in self.errors)

    def error(
        self, message: str, hint: str | None = None, position: SourcePosition | None = None, **more: Any
    ) -> PipelineFileError:
        """An error at a position in this file."""
        if position is None:
            return PipelineFileError(message, hint, path=self.path, **more)
        source = self._lines[position.line - 1] if position.line <= len(self._lines) else ""
        return PipelineFileError(
            message,
            hint,
            path=self.path,
            line=position.line,
            column=position.column,
            source=source,
            width=position.width,
            **more,
        )

    def find(self, keys: Sequence[str | int], *, key: bool = False) -> tuple[SourcePosition | None, int]:
        """The position of a value or of its key; if it does not exist, of the closest parent.

        Returns:
            the position, and the number of keys that were found.
        """
        if self.root is None:
            return None, 0
        node, key_node, depth = self.root, None, 0
        for step in keys:
            found = self._entries.get(step) if node is self.root else None
            found = found or _child(node, step)
            if found is not None:
                key_node, node = found
            elif not _is_short_form(node, step):
                break
            depth += 1
        if isinstance(node, yaml.ScalarNode) and not node.value and node.tag == _PLAIN and key_node is not None:
            node = key_node  # an empty value has no position of its own
        short_form = depth < len(keys) and isinstance(node, yaml.ScalarNode) and bool(node.value)
        if key_node is not None and not short_form and (key or depth < len(keys) or _is_block(node)):
            node = key_node
        elif key_node is None and node is self.root and not depth:
            return SourcePosition(1, 1), 0
        return position_of(node), depth


def position_of(node: Any) -> SourcePosition:
    """The position of a node."""
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return SourcePosition(start.line + 1, start.column + 1, max(1, width))


def _is_block(node: Any) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style and bool(node.value)


def _is_short_form(node: Any, step: str | int) -> bool:
    """Whether a value is the short form of a one-item list, or a list that of a mapping with the key `all`."""
    if isinstance(step, int):
        return isinstance(node, yaml.MappingNode)
    return isinstance(node, yaml.SequenceNode) and step == "all"


def _child(node: Any, step: str | int) -> tuple[Any, Any] | None:
    """The key node and value node of a child; for a list item, the item twice."""
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
    """Parse YAML; errors are added to the document's `errors`."""
    document = Document(path, text)
    problem = _too_deep(text)
    if problem:
        document.errors.append(document.error(problem, "reduce the nesting"))
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
        message = "expected a mapping of pipeline names at the top level of the file"
        document.errors.append(
            document.error(message, "write `name:` with the pipeline below it", position_of(document.root))
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
    """The top-level node of a JSON text, to find positions in it; None if it is not valid YAML."""
    try:
        return None if _too_deep(text) else _Composer(text).get_single_node()
    except yaml.YAMLError:
        return None


def _too_deep(text: str) -> str | None:
    """Libyaml's composer recurses in C without a limit: reject what could overflow the stack before parsing."""
    message = f"lists and mappings can be nested at most {MAX_DEPTH} levels deep"
    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        depth = 0
        for bracket in re.findall(r"[\[\]{}]", text):
            depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
            if depth > _MAX_BRACKETS:
                return message
    return message if re.search(rf"(?:[-?:]\s+){{{_MAX_BRACKETS}}}", text) else None


def _is_too_large(document: Document) -> bool:
    """Count the values after expanding all aliases; each shared node is visited once."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any, depth: int) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise _RecursiveAliasError(node)
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
    except _RecursiveAliasError as error:
        document.errors.append(document.error("the anchor contains an alias of itself", None, position_of(error.node)))
        return True
    if total > MAX_VALUES:
        message = f"the file expands to {total:,} values with its aliases; the limit is {MAX_VALUES:,}"
        largest = max(document.root.value, key=lambda entry: sizes.get(id(entry[1]), 1))[0]
        document.errors.append(document.error(message, "split the file", position_of(largest)))
        return True
    return False


class _RecursiveAliasError(Exception):
    def __init__(self, node: Any) -> None:
        super().__init__()
        self.node = node


class _Values:
    """Converts nodes to plain values."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.pipeline: str | None = None

    def all(self) -> dict[str, Any]:
        """Convert the whole file; each error is attributed to its pipeline."""
        root = self.document.root
        if root.tag != _MAP:
            self._tag_error(root)
        return self._mapping(root, 0, top=True)

    def of(self, node: Any, depth: int) -> Any:
        tag = node.tag
        if type(node) is yaml.ScalarNode:
            if tag is _PLAIN or tag == _PLAIN:
                return scalar(node.value)
            if tag != _STR:
                self._tag_error(node)
            return node.value
        if depth > MAX_DEPTH:
            message = f"lists and mappings can be nested at most {MAX_DEPTH} levels deep"
            self._error(message, "reduce the nesting", node)
            return None
        if type(node) is yaml.SequenceNode:
            if tag != _SEQ:
                self._tag_error(node)
            return [self.of(item, depth + 1) for item in node.value]
        if tag != _MAP:
            self._tag_error(node)
        return self._mapping(node, depth)

    def _mapping(self, node: Any, depth: int, *, top: bool = False) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key, value in node.value:
            if type(key) is not yaml.ScalarNode:
                hint = "quote templates: '{{ ds }}'" if isinstance(key, yaml.MappingNode) else None
                self._error("a key must be text", hint, key)
                continue
            name = key.value
            if name == "<<" and key.tag == _PLAIN:
                merged += self._merged(value, depth)
                continue
            if top:
                self.pipeline = name if name not in RESERVED else None
            if name in mapping:
                self._duplicate_error(node, key)
            mapping[name] = self.of(value, depth + 1)
        for base in merged:
            for name, item in base.items():
                mapping.setdefault(name, item)
        return mapping

    def _merged(self, node: Any, depth: int) -> list[dict[str, Any]]:
        mappings = []
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(item, yaml.MappingNode):
                mappings.append(self._mapping(item, depth + 1))
            else:
                self._error("`<<` requires a mapping or a list of mappings", "use an alias: `<<: *name`", item)
        return mappings

    def _duplicate_error(self, node: Any, key: Any) -> None:
        first = next(other for other, _ in node.value if other.value == key.value)
        message = f"duplicate key `{key.value}`; first defined on line {first.start_mark.line + 1}"
        self._error(message, "remove one of them", key)

    def _tag_error(self, node: Any) -> None:
        if node.tag.startswith(_TAG):
            tag = f"!!{node.tag.removeprefix(_TAG)}"
            if tag == "!!str":
                return
        else:
            tag = node.tag
        self._error(f"YAML tags are not supported: {tag}", "remove the tag, and quote text", node)

    def _error(self, message: str, hint: str | None, node: Any) -> None:
        self.document.errors.append(self.document.error(message, hint, position_of(node), pipeline=self.pipeline))
