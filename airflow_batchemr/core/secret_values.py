"""Secret values in requests to AWS, by the names of variables, properties and arguments; and text without them."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.foreign_text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Shorter values are not secrets, and replacing them would garble text. Source: Airflow's default of
#: `[logging] min_length_masked_secret`.
MIN_LENGTH = 5
#: Lines of secrets with several lines, such as private keys, that are replaced on their own.
MIN_LINE = 16
#: Keys of the name and the value of a variable, tag or argument in AWS's requests.
_PAIRS = (("name", "value"), ("Name", "Value"), ("key", "value"), ("Key", "Value"))
_ASSIGNMENT = re.compile(r"-{0,2}([A-Za-z_][\w.-]{0,199})=(.+)", re.DOTALL)
_OPTION = re.compile(r"--?([A-Za-z][\w.-]{0,199})")


def secret_values(document: Any, secret_name: Callable[[str], bool]) -> frozenset[str]:
    """Return the values in a request whose name says that they are secret.

    These are environment variables, properties, and arguments such as `--password x`, `PASSWORD=x` and
    `--conf spark.password=x`. Of values with several lines or with space around them, the lines are secret, too: that
    is how logs show them.

    Args:
        document: Request to AWS or part of one, as parsed JSON.
        secret_name: Whether values with this name are secret.
    """
    named = {value for name, value in _named(document) if secret_name(name)}
    found = {one for value in named for one in (value, value.strip()) if len(one) >= MIN_LENGTH}
    found -= {"false", "False", "FALSE"}  # of switches such as USE_TOKEN
    lines = {line.strip() for value in found for line in value.splitlines()}
    return frozenset(found | {line for line in lines if len(line) >= MIN_LINE and not line.startswith("-----")})


def without(secrets: Iterable[str], text: str) -> str:
    """Return the text, safe to display, with `***` in place of each secret.

    It is cleaned first: a program can color a part of a secret, and without the colors the secret would be complete.
    """
    text = clean(text)
    for secret in sorted(filter(None, map(clean, secrets)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _named(document: Any) -> Iterator[tuple[str, str]]:
    """Return all strings that have a name, with it."""
    left: list[tuple[str, Any]] = [("", document)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            pair = next((pair for pair in _PAIRS if value.keys() >= set(pair)), None)
            if pair is not None:
                left.append((str(value[pair[0]]), value[pair[1]]))
            left += [(str(key), one) for key, one in value.items() if pair is None or key not in pair]
        elif isinstance(value, list | tuple):
            yield from _arguments([one for one in value if isinstance(one, str)])
            left += [(name, one) for one in value]
        elif isinstance(value, str):
            yield name, value
            if "--conf " in value:  # of EMR Serverless and EMR on EKS: all arguments in one text
                yield from _arguments(value.split())


def _arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if assigned := _ASSIGNMENT.fullmatch(argument):
            yield assigned[1], assigned[2]
            if inner := _ASSIGNMENT.fullmatch(assigned[2]):  # --conf=spark.password=x
                yield inner[1], inner[2]
        elif option := _OPTION.fullmatch(argument):
            yield option[1], following
