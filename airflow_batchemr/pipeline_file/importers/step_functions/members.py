"""Read a mapping of a state machine and record what has been read: what nobody read would be dropped silently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import constant
from airflow_batchemr.pipeline_file.importers.translation import json_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.importers.translation import Path

_REQUIRED = object()


class Members:
    """A mapping whose members are recorded when they are read.

    A value that `get` returns counts as read with all of its parts; `members` and `items` record their parts.

    Args:
        value: the mapping.
        at: its path, relative to the state or the state machine that it belongs to.

    Raises:
        UntranslatableError: if it is not a mapping, or only known at run time.
    """

    def __init__(self, value: Any, at: Path = ()) -> None:
        self.at = at
        self._value: dict[str, Any] = constant(value, dict, self.path() or ".".join(map(str, at)) or "the state")
        self._read: set[str] = set()
        self._inner: list[Members] = []

    def __contains__(self, name: str) -> bool:
        return name in self._value

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a member; `default` if there is none."""
        self._read.add(name)
        return self._value.get(name, default)

    def constant(self, name: str, kind: type | tuple[type, ...], default: Any = _REQUIRED) -> Any:
        """The constant value of a member.

        Raises:
            UntranslatableError: if it is only known at run time, has another type, or is missing without a default.
        """
        if default is not _REQUIRED and name not in self._value:
            return default
        return constant(self.get(name), kind, self.path(name))

    def fixed(self, name: str, kind: type) -> Any:
        """The value of a member if it is a constant of a type; otherwise None, and the member is left to `rest`."""
        value = self._value.get(name)
        if type(value) is not kind:
            return None
        self._read.add(name)
        return value

    def members(self, name: str) -> Members:
        """The member, which is a mapping; an empty one if it is missing. Raises `UntranslatableError`."""
        value = self.get(name)
        inner = Members({} if value is None else value, (*self.at, name))
        self._inner.append(inner)
        return inner

    def items(self, name: str) -> list[Members]:
        """The member, which is a list of mappings; empty if it is missing. Raises `UntranslatableError`."""
        value = self.get(name)
        listed = [] if value is None else constant(value, list, self.path(name))
        inner = [Members(item, (*self.at, name, number)) for number, item in enumerate(listed)]
        self._inner += inner
        return inner

    def skip(self, *names: str) -> None:
        """Count members as read, because they need no translation."""
        self._read.update(names)

    def forget(self, *names: str) -> None:
        """Count members as not read, because they are left to `rest`."""
        self._read.difference_update(names)

    def rest(self) -> dict[str, Any]:
        """The members that have not been read, which then count as read."""
        left = {name: value for name, value in self._value.items() if name not in self._read}
        self._read.update(left)
        return left

    def whole(self) -> dict[str, Any]:
        """All members, which then count as read."""
        self._read.update(self._value)
        self._inner.clear()
        return dict(self._value)

    def unread(self) -> Iterator[Path]:
        """The paths of the members that have not been read."""
        for name in self._value:
            if name not in self._read:
                yield (*self.at, name)
        for inner in self._inner:
            yield from inner.unread()

    def path(self, name: str = "") -> str:
        """The path of a member for messages, without that of the parameters themselves."""
        keys = self.at[1:] if self.at[:1] == ("Parameters",) else self.at
        return json_path((*keys, *([name] if name else []))).removeprefix("$").lstrip(".")
