"""Substitution of variables: `${name}`, resolved when the file is read.

`$${` is an escaped `${`. Airflow templates (`{{ … }}`) are rendered when a task runs and are left unchanged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.limits import ExpansionLimit, count_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Report = Callable[[tuple[str | int, ...], Refusal], None]

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^{}\n]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
#: Maximum number of variables that refer to each other in a row.
_MAX_DEPTH = 50
#: Maximum number of characters of a text after substitution.
_MAX_TEXT = 262_144


class Variables:
    """The variables that are visible in one part of a file.

    Args:
        values: variables by name; `a.b` refers to key `b` of the mapping `a`.
        limit: counts what the file expands to.
    """

    def __init__(self, values: Mapping[str, Any], limit: ExpansionLimit) -> None:
        self._values = values
        self._resolved: dict[str, Any] = {}
        self._resolving: list[str] = []
        self._limit = limit

    def with_(self, more: Mapping[str, Any]) -> Variables:
        """A copy with more variables, which take precedence."""
        return Variables({**self._values, **more}, self._limit)

    def substitute(self, value: Any, report: Report) -> Any:
        """Substitute all variables in a value.

        Args:
            value: any value of the file; it is not modified.
            report: called with the path and the error of each text that cannot be substituted.
        """
        return self._substitute(value, (), report)

    def substitute_or_raise(self, value: Any) -> Any:
        """Substitute all variables in a value.

        Raises:
            Refusal: at the first text that cannot be substituted.
        """

        def report(keys: tuple[str | int, ...], refusal: Refusal) -> None:
            raise Refusal(refusal.message, refusal.hint, (*keys, *refusal.at))

        return self._substitute(value, (), report)

    def _substitute(self, value: Any, keys: tuple[str | int, ...], report: Report) -> Any:
        if isinstance(value, str):
            if "${" not in value:
                return value
            try:
                return self.text(value)
            except Refusal as error:
                report(keys, error)
                return value
        if isinstance(value, dict):
            return {key: self._substitute(item, (*keys, key), report) for key, item in value.items()}
        if isinstance(value, list):
            return [self._substitute(item, (*keys, position), report) for position, item in enumerate(value)]
        return value

    def text(self, text: str) -> Any:
        """Substitute the variables in a text; a text that consists of one variable takes the variable's type.

        Raises:
            Refusal: if a variable is undefined or malformed, or the text becomes too long.
        """
        whole = _VARIABLE.fullmatch(text)
        if whole and not whole[1]:
            value = self.lookup(whole)
            self._limit.add_values(count_values(value))
            return value
        result = _VARIABLE.sub(self._replacement, text)
        if len(result) > _MAX_TEXT:
            raise Refusal(f"the text has more than {_MAX_TEXT:,} characters after substituting its variables")
        self._limit.add_values(len(result) // 64)
        return result

    def _replacement(self, match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        value = self.lookup(match)
        if isinstance(value, dict | list):
            kind = "mapping" if isinstance(value, dict) else "list"
            raise Refusal(f"`{match[0]}` is a {kind} and cannot be inserted into text")
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def lookup(self, match: re.Match[str]) -> Any:
        """The value of a variable.

        Raises:
            Refusal: if it is undefined, malformed, or refers to itself.
        """
        name = match[2].strip()
        escape = f"to pass `{match[0]}` to a shell, write `$${match[0][1:]}`"
        if not match[3] or not _NAME.fullmatch(name):
            raise Refusal(f"invalid variable: {match[0]}", f"a variable is written ${{name}}; {escape}")
        if name in self._resolved:
            return self._resolved[name]
        if name in self._resolving:
            cycle = " → ".join([*self._resolving[self._resolving.index(name) :], name])
            raise Refusal(f"variables refer to each other in a cycle: {cycle}")
        if len(self._resolving) >= _MAX_DEPTH:
            raise Refusal(f"more than {_MAX_DEPTH} variables refer to each other in a row: … → {name}")
        self._resolving.append(name)
        try:
            value = self._resolve(self._defined_value(name, escape))
        finally:
            self._resolving.pop()
        self._resolved[name] = value
        return value

    def _defined_value(self, name: str, escape: str) -> Any:
        value: Any = self._values
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                if name == "environment":
                    hint = "select one with --environment or Airflow's `[batchemr] environment` setting"
                    raise Refusal("`${environment}` is undefined because no environment is selected", hint)
                near = guess(name, [str(key) for key in self._values])
                raise Refusal(f"undefined variable `{name}`", f"{near or 'define it under `vars:`'}; {escape}")
            value = value[part]
        return value

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value) if "${" in value else value
        if isinstance(value, dict):
            return {key: self._resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        return value
