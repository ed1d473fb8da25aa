"""Regular expressions whose matching takes exponential time in Python.

Python's `re` tries one way through a pattern after the other and cannot be interrupted. If a text can match a part of
the pattern in several ways, again and again, as in `(a+)+$`, there are more ways than anybody can wait for. So the ways
are counted before the pattern is ever used: in the automaton of the pattern, whose states are its characters
(Glushkov). Two different cycles from a state to itself on the same text are exponential (Weber and Seidl, "On the
degree of ambiguity of finite automata"). What is not exponential may still be too much, such as 20 times `.*`; that is
found by following the texts that have the most ways.
"""

from __future__ import annotations

import bisect
import functools
import re
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

if sys.version_info >= (3, 11):
    import re._parser as parser
else:
    import sre_parse as parser

#: Characters of a value that a pattern is applied to.
MAX_VALUE = 500
#: Characters up to which the repetitions of a part, and of a single character, are written out; more count as any
#: number.
_WRITTEN_OUT, _WRITTEN_OUT_SINGLE = 64, 256
#: Steps of the check itself, less than a second.
_MAX_STEPS = 200_000
#: Ways that a text of this length may have: those of three nested loops. A match that may begin anywhere is one more.
_LENGTH, _MAX_WAYS = 200, 2_000_000
_STARTS = 50
#: Texts that are followed at one time.
_TEXTS = 4
#: Groups of flags with `i` and with `a`.
_ANY_CASE, _ASCII = re.compile(r"\(\?[aLmsux]*i"), re.compile(r"\(\?[iLmsux]*a")

_Part = tuple[int, Counter[int], Counter[int]]
"""The number of ways to match nothing, and the first and last states with the number of ways to get there."""


class _TooLargeError(Exception):
    """The check would take too long itself, or need not go on."""


class _Steps:
    """Counts the steps of the check."""

    left = _MAX_STEPS

    def take(self, number: int) -> None:
        self.left -= number
        if self.left < 0:
            raise _TooLargeError("it is too large to find out how long it takes")


@functools.lru_cache(maxsize=256)
def slow(pattern: str) -> str | None:
    """Return why a pattern would take too long on some text; None if it would not.

    Raises:
        re.error: The pattern is invalid.
        RecursionError: It is nested too deeply.
    """
    re.compile(pattern)
    if not any(mark in pattern for mark in "*+?{"):
        return None
    tree = parser.parse(pattern)
    anchored = str(next(iter(tree), (None, None))[1]).startswith("AT_BEGINNING")
    try:
        automaton = _Automaton(pattern, tree)
        reasons = (
            automaton.reason(root, _STARTS if repeated or not anchored else 1) for root, repeated in automaton.roots()
        )
        return next(filter(None, reasons), None)
    except _TooLargeError as error:
        return str(error)


def names_characters(pattern: str) -> bool:
    """Whether a pattern applies to the whole value, from `^` to `$`, and does not accept any character by `.`."""
    try:
        items = parser.parse(pattern).data
    except (re.error, RecursionError, OverflowError):
        return False
    ends = [str(argument) for operator, argument in items[:1] + items[-1:] if str(operator) == "AT"]
    anchored = len(ends) == 2 and ends[0].startswith("AT_BEGINNING") and ends[1].startswith("AT_END")
    return anchored and "(ANY, " not in repr(items)


class _Automaton:
    """The automaton of a pattern. Assertions match nothing; what is inside them has an automaton of its own.

    A reference to a group counts as the group's expression.
    """

    def __init__(self, pattern: str, tree: Any) -> None:
        self._any_case = _ANY_CASE.search(pattern) is not None
        self._ascii = _ASCII.search(pattern) is not None
        points = _points(tree)
        if self._any_case:
            points |= {ord(case) for point in points for case in _cases(chr(point))}
        self._samples = _samples(points)
        self._sets: dict[str, frozenset[str]] = {}
        self._steps = _Steps()
        self._groups: dict[int | None, Any] = {}
        self._pending = [(tree, 0)]
        self._ends_search = all(_reads_characters(*item) for item in tree)
        self._repeats = 0

    def roots(self) -> Iterator[tuple[_Part, bool]]:
        """Yield the pattern, and what is inside of its assertions; and whether a match may try it several times."""
        while self._pending:
            self._chars: list[frozenset[str]] = []
            self._follow: dict[int, Counter[int]] = defaultdict(Counter)
            items, self._repeats = self._pending.pop()
            yield self._sequence(items), bool(self._repeats)

    def reason(self, root: _Part, starts: int) -> str | None:
        """Return why it takes too long, if a match begins at so many positions."""
        if max(root[0], *root[2].values(), 0) > _MAX_WAYS:
            return "it takes exponential time, because each of many repetitions can match nothing"
        exponential = _exponential(self._chars, self._follow, self._steps)
        matched = root[2].keys() if self._ends_search else ()
        return exponential or _ways(self._chars, self._follow, root[1], matched, starts=starts, steps=self._steps)

    def _sequence(self, items: Any) -> _Part:
        made: _Part = (1, Counter(), Counter())
        for operator, argument in items:
            made = self._then(made, self._part(str(operator), argument))
        return made

    def _then(self, one: _Part, other: _Part) -> _Part:
        self._link(one[2], other[1])
        self._steps.take(len(one[1]) + len(other[2]))
        return one[0] * other[0], _sum(one[1], other[1], one[0]), _sum(other[2], one[2], other[0])

    def _link(self, last: Counter[int], first: Counter[int]) -> None:
        self._steps.take(len(last) * len(first))
        for state, ways in last.items():
            for following, others in first.items():
                self._follow[state][following] += ways * others

    def _part(self, operator: str, argument: Any) -> _Part:
        if operator == "SUBPATTERN":
            self._groups[argument[0]] = argument[3]
            return self._sequence(argument[3])
        if operator == "GROUPREF":
            return self._sequence(self._groups[argument])
        if operator == "ATOMIC_GROUP":
            return self._sequence(argument)
        if operator.endswith("_REPEAT"):
            self._repeats += 1
            made = self._repeat(*argument)
            self._repeats -= 1
            return made
        if operator in ("BRANCH", "GROUPREF_EXISTS"):
            parts = argument[1] if operator == "BRANCH" else [part or [] for part in argument[1:]]
            made = (0, Counter(), Counter())
            for part in map(self._sequence, parts):
                self._steps.take(len(made[1]) + len(made[2]))
                made = (made[0] + part[0], _sum(made[1], part[1], 1), _sum(made[2], part[2], 1))
            return made
        if operator in ("ASSERT", "ASSERT_NOT"):
            self._pending.append((argument[1], self._repeats))
        if operator in ("AT", "ASSERT", "ASSERT_NOT"):
            return 1, Counter(), Counter()
        key = f"{operator} {argument}"
        if key not in self._sets:
            self._steps.take(len(self._samples) * (len(argument) if operator == "IN" else 1))
            matched = (char for char in self._samples if self._matches(operator, argument, char))
            self._sets[key] = frozenset(matched)
        self._chars.append(self._sets[key])
        state = Counter({len(self._chars) - 1: 1})
        return 0, state, state

    def _repeat(self, least: int, most: int, body: Any) -> _Part:
        before = len(self._chars)
        first = self._sequence(body)
        size = len(self._chars) - before
        if most == 0:
            return 1, Counter(), Counter()
        # Python repeats what matches nothing as often as it must, and then once more
        more = 1 + first[0] if most > least else 1
        nothing = first[0] ** min(least, _WRITTEN_OUT) * more
        if not size:
            return nothing, Counter(), Counter()
        if most != parser.MAXREPEAT and most * size <= (
            _WRITTEN_OUT_SINGLE if size == 1 and not first[0] else _WRITTEN_OUT
        ):
            parts = [first, *(self._sequence(body) for _ in range(most - 1))]
            made: _Part = (1, Counter(), Counter())
            for number in range(most, 0, -1):  # x(x(x)?)?
                made = self._then(parts[number - 1], made)
                made = made if number <= least else (made[0] + 1, made[1], made[2])
            return made
        if first[0] and (least > 1 or most != parser.MAXREPEAT):
            raise _TooLargeError("it takes exponential time, because each of many repetitions can match nothing")
        self._link(first[2], first[1])
        return nothing, first[1], _sum(Counter(), first[2], more)

    def _matches(self, operator: str, argument: Any, char: str) -> bool:
        cases = _cases(char) if self._any_case else {char}
        kinds = (False, True) if self._ascii and not char.isascii() else (False,)
        return any(_matches(operator, argument, one, only) for one in cases for only in kinds)


def _reads_characters(operator: Any, argument: Any) -> bool:
    """Whether it is a character or a repetition of one, such as `.*`. A search ends where several of these end."""
    if str(operator).endswith("_REPEAT") and len(argument[2]) == 1:
        operator = argument[2][0][0]
    return str(operator) in ("LITERAL", "NOT_LITERAL", "IN", "ANY")


def _points(tree: Any) -> set[int]:
    """The characters in a pattern: its own, and the ends of its ranges."""
    points: set[int] = set()
    pending = [tree]
    while pending:
        part = pending.pop()
        if isinstance(part, tuple) and str(part[0]) in ("LITERAL", "NOT_LITERAL"):
            points.add(part[1])
        elif isinstance(part, tuple) and str(part[0]) == "RANGE":
            points.update(part[1])
        elif isinstance(part, tuple | list | parser.SubPattern):
            pending.extend(iter(part))
    return points


def _samples(points: set[int]) -> list[str]:
    """One character of each kind that a pattern with these characters can tell apart."""
    ends = sorted({0, *points, *(point + 1 for point in points if point < 0x10FFFF)})
    starts = _runs(0x110000) if ends[-1] > 128 else [*_runs(128), *map(ord, "\xe9\u0660\u2003\u20ac")]
    found: dict[tuple[int, Any], int] = {}
    for start in sorted({*ends, *starts}):
        found.setdefault((bisect.bisect(ends, start), _kind(chr(start))), start)
    return sorted(map(chr, found.values()))


@functools.lru_cache(maxsize=2)
def _runs(end: int) -> list[int]:
    r"""Where the characters before `end` begin to differ in `\d`, `\s`, `\w`, `.` or `(?a)` from the one before."""
    pieces = (range(at, min(at + 4_096, end)) for at in range(0, end, 4_096))  # a list of all takes 100 MB
    chars = "".join("".join(map(chr, piece)) for piece in pieces)
    return [128, *(run.start() for run in re.finditer(r"\n|\d+|[^\S\n]+|[^\W\d]+|[^\w\s]+", chars))]


def _kind(char: str) -> tuple[bool, ...]:
    return char.isdecimal(), char.isspace(), char.isalnum() or char == "_", char == "\n", char.isascii()


def _cases(char: str) -> set[str]:
    """The forms of a character that `re.IGNORECASE` may take for each other; the upper case of `\u017f` is `S`."""
    return {case for case in (char, char.lower(), char.upper(), char.upper().lower()) if len(case) == 1}


def _matches(operator: str, argument: Any, char: str, only_ascii: bool) -> bool:
    if operator == "IN":
        negated = str(argument[0][0]) == "NEGATE"
        return bool(negated) != any(_matches(str(one), value, char, only_ascii) for one, value in argument[negated:])
    if operator in ("LITERAL", "NOT_LITERAL"):
        return bool(ord(char) == argument) == (operator == "LITERAL")
    if operator == "RANGE":
        return bool(argument[0] <= ord(char) <= argument[1])
    if operator == "CATEGORY":
        name = str(argument)
        is_kind = dict(zip(("DIGIT", "SPACE", "WORD"), _kind(char), strict=False))[name.rpartition("_")[2]]
        return (is_kind and not only_ascii) != ("_NOT_" in name)
    return True  # ANY, also a line break


def _sum(one: Counter[int], other: Counter[int], factor: int) -> Counter[int]:
    """Add the ways of `other`, of which there are so many for each."""
    if not factor:
        return one
    made = one.copy()
    for state, ways in other.items():
        made[state] += ways * factor
    return made


def _exponential(chars: list[frozenset[str]], follow: dict[int, Counter[int]], steps: _Steps) -> str | None:
    for cycle in _cycles(range(len(chars)), lambda state: list(follow[state])):
        edges = {state: {other: follow[state][other] for other in follow[state] if other in cycle} for state in cycle}
        if any(ways > 1 and chars[other] for others in edges.values() for other, ways in others.items()):
            return "it takes exponential time, because a repeated part contains another repetition of the same text"
        by_char: dict[int, dict[str, list[int]]] = {state: defaultdict(list) for state in cycle}
        for state, others in edges.items():
            for other in others:
                steps.take(len(chars[other]))
                for char in chars[other]:
                    by_char[state][char].append(other)

        def pairs(pair: tuple[int, int], by_char: Any = by_char) -> set[tuple[int, int]]:
            one, other = (by_char[state] for state in pair)
            steps.take(len(one) + sum(len(one[char]) * len(other.get(char, ())) for char in one))
            return {(min(a, b), max(a, b)) for char in one for a in one[char] for b in other.get(char, ())}

        # The pairs of states that two ways may be in, from the pair of a state with itself
        for component in _cycles([(state, state) for state in cycle], pairs):
            if any(a == b for a, b in component) and any(a != b for a, b in component):
                return "it takes exponential time, because a repeated part can match the same text in several ways"
    return None


def _ways(
    chars: list[frozenset[str]],
    follow: dict[int, Counter[int]],
    first: Counter[int],
    matched: Collection[int],
    *,
    starts: int,
    steps: _Steps,
) -> str | None:
    """Follow the texts that have the most ways at each of their characters, until they have matched."""
    texts, totals = [first], [0]
    for _ in range(_LENGTH):
        longer: dict[frozenset[tuple[int, int]], tuple[int, Counter[int]]] = {}
        for reached, total in zip(texts, totals, strict=True):
            by_char: dict[str, Counter[int]] = defaultdict(Counter)
            for state, ways in reached.items():
                steps.take(len(chars[state]))
                for char in chars[state]:
                    by_char[char][state] = ways
            for active in by_char.values():
                if any(state in active for state in matched):
                    continue
                made = total + sum(active.values()) * starts
                if made > _MAX_WAYS:
                    return "it takes too long, because many of its parts can match the same text"
                key = frozenset(active.items())
                if key not in longer or made > longer[key][0]:
                    longer[key] = made, active
        best = sorted(longer.values(), key=lambda one: sum(one[1].values()), reverse=True)[:_TEXTS]
        texts, totals = [], [total for total, _ in best]
        for _, active in best:
            reached = Counter()
            for state, ways in active.items():
                steps.take(len(follow[state]))
                for other, more in follow[state].items():
                    reached[other] += ways * more
            texts.append(reached)
    return None


def _cycles(nodes: Any, edges: Any) -> list[set[Any]]:
    """Return the strongly connected components that contain a cycle (Tarjan, without recursion)."""
    order: dict[Any, int] = {}
    low: dict[Any, int] = {}
    stack: list[Any] = []
    on_stack: set[Any] = set()
    found: list[set[Any]] = []
    for start in nodes:
        work = [] if start in order else [(start, iter(edges(start)))]
        while work:
            node, rest = work[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                stack.append(node)
                on_stack.add(node)
            for other in rest:
                if other not in order:
                    work.append((other, iter(edges(other))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], order[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    component = {stack.pop()}
                    while node not in component:
                        component.add(stack.pop())
                    on_stack -= component
                    if len(component) > 1 or node in edges(node):
                        found.append(component)
    return found
