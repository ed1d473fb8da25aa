"""Text from outside is displayed as it is, and does nothing else."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchemr.core.foreign_text import clean, clean_line

PLAIN = "Größe: 3 µs, naïve � 日本語 👍 \\x1b\tend\nnext"


def test_ordinary_text_is_unchanged():
    assert clean(PLAIN) == PLAIN


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b31mred", "red"),
        ("\x1b]52;c;ZXZpbA==\x07x", "\\x1b]52;c;ZXZpbA==\\x07x"),
        ("\x1b]0;title\x1b\\x", "\\x1b]0;title\\x1b\\x"),
        ("\x1b[\x1b[31m31m", "\\x1b[31m"),
        ("\x9d52;c;x\x9c", "\\x9d52;c;x\\x9c"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("a\u2066b\u2069\u200fc", "a\\u2066b\\u2069\\u200fc"),
        ("10 %\r100 %\r\nend", "10 %\n100 %\nend"),
        ("a\x00b\x7f\u2028", "a\\x00b\\x7f\\u2028"),
        ("\ud800 \U000e0041", "\\ud800 \\U000e0041"),
    ],
)
def test_unsafe_characters_are_removed_or_visible(text, shown):
    assert clean(text) == shown


def test_a_line_stays_one_line():
    assert clean_line("a\nb\r\nc\td\x1b[1m") == "a\\nb\\nc\\td"


def test_no_control_or_format_character_passes():
    unsafe = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.bidirectional(chr(code)) in _BIDI]
    unsafe += [chr(code) for code in range(256) if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\t\n"]
    assert not [repr(one) for one in unsafe if one in clean(f"a{one}b")]


_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]\x9b0m;\r\n\u202e"))))
def test_clean_text_stays_clean(text):
    once = clean(text)
    assert clean(once) == once
    assert "\n" not in clean_line(text)
    once.encode()
