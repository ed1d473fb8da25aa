"""`${name}`: variables that are filled in when the file is read.

`$${` is a plain `${`. Airflow's `{{ … }}` is another language, filled in when a task runs, and is left alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.budget import Budget, size
from airflow_batchemr.pipeline_file.errors import Refusal, guess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^{}\n]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
#: Characters of a text with its variables filled in.
_MAX_TEXT = 262_144


class Variables:
    """The variables that a part of a file sees.

    Args:
        values: variables by name; mappings are reached into with `a.b`.
        budget: what the file may grow into.
    """

    def __init__(self, values: Mapping[str, Any], budget: Budget) -> None:
        self._values = values
        self._resolved: dict[str, Any] = {}
        self._open: list[str] = []
        self._budget = budget

    def with_(self, more: Mapping[str, Any]) -> Variables:
        """These, and some more that come first."""
        return Variables({**self._values, **more}, self._budget)

    def fill(self, value: Any, report: Callable[[tuple[str | int, ...], Refusal], None]) -> Any:
        """A value with all variables filled in.

        Args:
            value: any value of the file; it is not changed.
            report: called with the keys and the refusal for each variable that cannot be filled in.
        """
        return self._fill(value, (), report)

    def _fill(
        self, value: Any, keys: tuple[str | int, ...], report: Callable[[tuple[str | int, ...], Refusal], None]
    ) -> Any:
        if isinstance(value, str):
            if "${" not in value:
                return value
            try:
                return self.text(value)
            except Refusal as error:
                report(keys, error)
                return value
        if isinstance(value, dict):
            return {key: self._fill(item, (*keys, key), report) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item, (*keys, place), report) for place, item in enumerate(value)]
        return value

    def text(self, text: str) -> Any:
        """A text with its variables filled in; a text that is one variable alone keeps the variable's type.

        Raises:
            Refusal: no such variable, or not written as one.
        """
        whole = _VARIABLE.fullmatch(text)
        if whole and not whole[1]:
            value = self.lookup(whole)
            self._budget.spend(size(value))
            return value
        made = _VARIABLE.sub(self._replaced, text)
        if len(made) > _MAX_TEXT:
            raise Refusal(f"with its variables filled in the text has more than {_MAX_TEXT:,} characters")
        self._budget.spend(len(made) // 64)
        return made

    def _replaced(self, match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        value = self.lookup(match)
        if isinstance(value, dict | list):
            kind = "mapping" if isinstance(value, dict) else "list"
            raise Refusal(f"`{match[0]}` is a {kind}, and cannot stand inside of a text")
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def lookup(self, match: re.Match[str]) -> Any:
        """The value of a variable.

        Raises:
            Refusal: as in `text`.
        """
        name = match[2].strip()
        shell = f"`$${match[0][1:]}` stays `{match[0]}` for a shell"
        if not match[3] or not _NAME.fullmatch(name):
            raise Refusal(f"not a variable: {match[0]}", f"a variable is ${{name}}; {shell}")
        if name in self._resolved:
            return self._resolved[name]
        if name in self._open:
            circle = " → ".join([*self._open[self._open.index(name) :], name])
            raise Refusal(f"the variables go round in a circle: {circle}")
        self._open.append(name)
        try:
            value = self._filled(self._raw(name, shell))
        finally:
            self._open.pop()
        self._resolved[name] = value
        return value

    def _raw(self, name: str, shell: str) -> Any:
        value: Any = self._values
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                if name == "environment":
                    hint = "choose one with --environment, or with Airflow's [batchemr] environment"
                    raise Refusal("no environment is chosen, and `${environment}` is its name", hint)
                near = guess(name, [str(key) for key in self._values])
                raise Refusal(f"no variable `{name}`", f"{near}; {shell}" if near else f"set it under `vars:`; {shell}")
            value = value[part]
        return value

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value) if "${" in value else value
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        return value
