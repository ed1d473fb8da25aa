"""Text from outside this package, made safe for terminals, task logs, mail and chat.

Logs, ledger records, AWS's answers and rendered parameters may contain characters that move a terminal's cursor, set
its title or clipboard (ANSI and OSC escape sequences), or display text in another order than it has (Unicode's
bidirectional controls, see CVE-2021-42574).
"""

from __future__ import annotations

import re

#: Color and cursor sequences (ECMA-48, section 5.4), which programs write into their logs for a terminal.
_CSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")
#: C0 and C1 controls without tab and line feed, bidirectional and invisible format characters, line and paragraph
#: separators, lone surrogates, noncharacters and tag characters.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_LINE_BREAKS = re.compile(r"\r\n?")


def clean(text: str) -> str:
    r"""Return text that is safe to display, with its line breaks and tabs.

    Color and cursor sequences are removed. Other unsafe characters become visible escapes as in Python's `repr`, such
    as `\x07` and `\u202e`. A carriage return counts as a line break.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, _CSI.sub("", _LINE_BREAKS.sub("\n", text)))


def clean_line(text: str) -> str:
    r"""Return text that is safe to display in one line: as `clean`, but line breaks and tabs become `\n` and `\t`."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


def escaped(text: str) -> str:
    r"""Return text with unsafe characters as escapes of Python's string literals, such as `\x1b`. Removes nothing."""
    return _UNSAFE.sub(_escape, text)


def clean_error(error: BaseException | None) -> None:
    """Make the messages of an exception, and of those that led to it, safe to display in a traceback."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(clean(one) if isinstance(one, str) else one for one in error.args)
        error = error.__cause__ or error.__context__


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
