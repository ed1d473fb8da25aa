"""Text that tries to control what displays it, and what must not come out."""

from __future__ import annotations

import re
import unicodedata

#: A color, concealed text, a title, a clipboard, C0 and C1 controls, bidirectional text, separators, markup of Rich,
#: Slack and HTML, and a template.
HOSTILE = (
    "\x1b[31mevil\x1b[8m\x1b]0;title\x07\x1b]52;c;eA==\x1b\\\x9b2J\x85\x9d\b\x7f\u202eb\u2066i\u200b\u2028"
    "[red]r[/red][link=http://evil]l[/link]:skull: <!channel> <http://evil|label> *b* `c` @here & <script>"
    " {{ 7 * 191 }}"
)
_BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
#: Colors that this package and its libraries print on a terminal.
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def unsafe(text: str, *, terminal: bool = False) -> list[str]:
    """The characters that must not be displayed. On a terminal, our own colors may be."""
    if terminal:
        text = COLORS.sub("", text.replace("\r\n", "\n"))
    return [
        one
        for one in text
        if (unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} and one not in "\n\t")
        or unicodedata.bidirectional(one) in _BIDI
        or one in "\u200b\u200e\u200f\u061c\ufeff"
    ]
