"""One way to lay out a pipeline file: indentation, spaces and empty lines; words, quotes and comments stay.

The text is put together again from YAML's tokens, and what lies between them (spaces, line ends, comments) is
written anew. A file whose values or comments would come out otherwise is refused rather than written.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.reader import read

if TYPE_CHECKING:
    from pathlib import Path

_STEP = 2
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPEN = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSE = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_BLOCK = (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)


def format_text(text: str, path: Path | str = "<text>") -> str:
    """The text in the one layout.

    Raises:
        PipelineFileError: it is not YAML, or it cannot be laid out without changing what it says.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    before = read(path, text)
    if before.errors:
        raise before.errors[0]
    tokens = _tokens(text)
    made = _written(tokens)
    after = read(path, made)
    if after.errors or after.value != before.value or _comments(_tokens(made)) != _comments(tokens):
        raise PipelineFileError("cannot be laid out without changing what it says", "it is left as it is", path=path)
    return made


@dataclass
class _Token:
    """A token with a text of its own, and what stands before it.

    Attributes:
        kind: PyYAML's class.
        text: as it stands; the lines of a text of several with their own indentation.
        gap: spaces, line ends and comments before it.
        column: 0-based.
        blocks: old and new column of each block around it, outermost first.
        flow: how many brackets are open around it.
        key: whether it begins an entry of a block.
        old_base: for a block text, the column of its contents.
        new_base: and where they go.
    """

    kind: type
    text: str
    gap: str
    column: int
    blocks: list[tuple[int, int]]
    flow: int
    key: bool
    old_base: int | None = None
    new_base: int = 0

    @property
    def inner(self) -> int:
        """Where lines go that continue what began in the innermost block."""
        return self.blocks[-1][1] + _STEP if self.blocks else 0


@dataclass
class _Block:
    old: int
    new: int
    is_list: bool
    implied: bool = False


@dataclass
class _Blocks:
    """The blocks around the token that is read."""

    open: list[_Block] = field(default_factory=list)

    def see(self, token: Any, flow: int) -> None:
        """Open and close blocks; a list at its key's own column has no token of its own."""
        if isinstance(token, _BLOCK):
            new = self.open[-1].new + _STEP if self.open else 0
            self.open.append(_Block(token.start_mark.column, new, isinstance(token, yaml.BlockSequenceStartToken)))
        elif isinstance(token, yaml.BlockEndToken):
            self._end_implied()
            self.open.pop()
        elif isinstance(token, yaml.KeyToken) and not flow:
            self._end_implied()
        elif isinstance(token, yaml.BlockEntryToken) and not self.open[-1].is_list:
            self.open.append(_Block(token.start_mark.column, self.open[-1].new + _STEP, is_list=True, implied=True))

    def _end_implied(self) -> None:
        if self.open[-1].implied:
            self.open.pop()


def _tokens(text: str) -> list[_Token]:
    """The tokens that have a text; the last one is the empty end."""
    blocks, flow, end, made = _Blocks(), 0, 0, []
    key = False
    for token in yaml.scan(text, Loader=_LOADER):
        if isinstance(token, yaml.DirectiveToken):
            raise PipelineFileError("YAML directives (%) are not laid out", "remove them")
        blocks.see(token, flow)
        key = key or (isinstance(token, yaml.KeyToken | yaml.BlockEntryToken) and not flow)
        start, stop = token.start_mark.index, token.end_mark.index
        if start == stop and not isinstance(token, yaml.StreamEndToken):
            continue
        if isinstance(token, _CLOSE):
            flow -= 1
        found = _Token(
            type(token),
            text[start:stop],
            text[end:start],
            token.start_mark.column,
            [(block.old, block.new) for block in blocks.open],
            flow,
            key,
        )
        if isinstance(token, _OPEN):
            flow += 1
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            _read_block_text(found)
        made.append(found)
        end, key = start + len(found.text), False
    return made


def _read_block_text(token: _Token) -> None:
    """Where the lines of a `|` or `>` text begin, now and in the layout."""
    header, _, content = token.text.partition("\n")
    keeps = "+" in header.split("#", maxsplit=1)[0]
    content = content.removesuffix("\n") if keeps else content.rstrip("\n \t")
    token.text = f"{header}\n{content}" if content else header
    digit = re.search(r"[1-9]", header.split("#")[0])
    widths = [len(line) - len(line.lstrip(" ")) for line in content.split("\n") if line.strip()]
    around = token.blocks[-1] if token.blocks else (0, 0)
    token.old_base = around[0] + int(digit[0]) if digit else min(widths, default=0)
    token.new_base = around[1] + (int(digit[0]) if digit else _STEP)


@dataclass
class _Gap:
    """What stands between two tokens: a comment behind the first, then lines (column and comment; none is empty)."""

    same_line: bool
    trailing: str
    lines: list[tuple[int, str]]

    @classmethod
    def of(cls, text: str, *, first: bool, last: bool) -> _Gap:
        head, *rest = text.split("\n")
        if first:
            head, rest = "", [head, *rest]
        lines = [(len(line) - len(line.lstrip()), line.strip()) for line in (rest if last else rest[:-1])]
        if first and not last and rest and rest[-1].strip():
            lines.append((0, rest[-1].strip()))
        return cls(same_line=not rest, trailing=head.strip(), lines=lines)


def _gaps(tokens: list[_Token]) -> list[_Gap]:
    last = len(tokens) - 1
    return [_Gap.of(token.gap, first=place == 0, last=place == last) for place, token in enumerate(tokens)]


def _comments(tokens: list[_Token]) -> list[str]:
    found = itertools.chain.from_iterable([gap.trailing, *(text for _, text in gap.lines)] for gap in _gaps(tokens))
    return [comment for comment in found if comment]


def _written(tokens: list[_Token]) -> str:
    out: list[str] = []
    before: _Token | None = None
    statement = (0, 0)
    for token, gap in zip(tokens, _gaps(tokens), strict=True):
        end = token is tokens[-1]
        if gap.same_line and before is not None and not end:
            out.append(_space(before, token))
        else:
            if gap.trailing:
                out.append(f"  {gap.trailing}")
            indent = _indent(token, statement)
            out += _lines_between(before, token, gap, indent, end=end)
            if not token.flow or token.kind in _OPEN:
                statement = (token.column, indent)
            out.append("" if end else " " * indent)
        out.append(_text(token, statement))
        before = token
    return "".join(out)


def _indent(token: _Token, statement: tuple[int, int]) -> int:
    """The column of a token that begins a line."""
    if token.flow or (token.kind in _CLOSE):
        old, new = statement
        least = new if token.kind in _CLOSE else new + _STEP
        return max(least, token.column + new - old)
    if token.key and token.blocks:
        return token.blocks[-1][1]
    return token.inner


def _lines_between(before: _Token | None, token: _Token, gap: _Gap, indent: int, *, end: bool) -> list[str]:
    """Line ends, comments on lines of their own, and at most one empty line in a row."""
    lines: list[str] = []
    for column, comment in gap.lines:
        if comment:
            at = indent
            if before is not None and (end or column > token.column):
                around = next((new for old, new in reversed(before.blocks) if old <= column), 0)
                at = around if end else max(around, indent)
            lines.append(" " * at + comment)
        elif (lines and lines[-1]) or (not lines and before is not None and before.kind is not yaml.ValueToken):
            lines.append("")
    if before is None:
        while lines and not lines[0]:
            lines.pop(0)
        return [f"{line}\n" for line in lines]
    if end:
        while lines and not lines[-1]:
            lines.pop()
        return ["\n", *(f"{line}\n" for line in lines)]
    if token.key and token.blocks and len(token.blocks) == 1 and not any(line == "" for line in lines):
        own = next((place for place, line in enumerate(lines) if not line.startswith(" ")), len(lines))
        lines.insert(own, "")
    return ["\n", *(f"{line}\n" for line in lines)]


def _space(before: _Token, token: _Token) -> str:
    """What stands between two tokens of one line."""
    if before.kind is yaml.ValueToken:
        return " "
    if before.kind in _OPEN or token.kind in _CLOSE or token.kind is yaml.FlowEntryToken:
        return ""
    if token.kind is yaml.ValueToken:
        return " " if before.kind is yaml.AliasToken else ""
    return " "


def _text(token: _Token, statement: tuple[int, int]) -> str:
    """A token's text; further lines of it are indented anew."""
    if "\n" not in token.text:
        return token.text
    first, *rest = token.text.split("\n")
    if token.old_base is None:
        inner = max(token.inner, statement[1] + _STEP) if token.flow else token.inner
        lines = [" " * inner + line.strip(" \t") if line.strip() else "" for line in rest]
        return "\n".join([first.rstrip(" \t"), *lines])
    lines = []
    for line in rest:
        cut = line[token.old_base :]
        lines.append(" " * token.new_base + cut if cut.strip() or (cut and line.strip(" ") == "") else "")
    return "\n".join([first.rstrip(), *lines])
