r"""Whether matching a regular expression takes time in proportion to the text, decided from the expression itself.

`re` tries one way after another to match. The time is linear if, for every text, the number of ways to reach a place of
the expression after a number of characters is bounded. The number is unbounded in two cases (Weber and Seidl, "On the
degree of ambiguity of finite automata", 1991):

- exponential: from a place of the expression, two different ways lead back to it over the same characters, `(a+)+b`;
- polynomial: some characters lead from a place back to it, from there to another place, and from that back to itself,
  `a*a*b`. The search itself is such a place: it goes on to the next character, `[^\n]*b`.

Ways that pass a place at which the whole expression has matched, whatever follows, do not count: there, `re` stops.
Lookarounds of one character, `\b`, `^` and `$` are exact, back references and longer lookarounds are approximated by
more ways than there are. So an expression without a finding is linear; one with a finding may be, too.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import cache
from typing import Any

if sys.version_info >= (3, 11):
    from re import _constants as sre
    from re import _parser as sre_parser
else:
    import sre_constants as sre
    import sre_parse as sre_parser

#: A repeat with a larger maximum counts as unbounded; of a smaller one, so many repetitions are told apart.
UNBOUNDED, UNROLLED = 1_200, 3
#: One of each kind of character that the expressions of the package tell apart.
ALPHABET = [chr(code) for code in range(256)] + list("\u0660\u2028\u202e\u2003\u4e00\ufeff\ud800\U0001f600\u0130\u017f")
_ANY, _END, _START = object(), object(), object()


@dataclass(frozen=True)
class Finding:
    """Why an expression is not linear, with a text that shows it."""

    kind: str
    """`exponential` or `polynomial`."""
    before: str
    pumped: str
    """Repeating it makes the match slow."""

    def __str__(self) -> str:
        return f"{self.kind} in the number of {self.pumped!r} after {self.before!r}"


@dataclass
class _Part:
    """A piece of an expression as in Glushkov's construction: places that begin it and that end it, and ways past it.

    Each has the conditions of the zero-width assertions on the way. A way that exists twice is there twice.
    """

    first: list[tuple[int, tuple]] = field(default_factory=list)
    last: list[tuple[int, tuple]] = field(default_factory=list)
    empty: list[tuple] = field(default_factory=list)


class _Automaton:
    def __init__(self, pattern: str | bytes, flags: int) -> None:
        tree = sre_parser.parse(pattern, flags)
        self.bytes = isinstance(pattern, bytes)
        self.places: list[Any] = []
        """The test of the character that each place reads."""
        self.follow: dict[int, list[tuple[int, tuple]]] = defaultdict(list)
        self.groups: dict[int, Any] = {}
        self.whole = self._sequence(list(tree), tree.state.flags)

    def _place(self, test: Any) -> _Part:
        self.places.append(test)
        number = len(self.places) - 1
        return _Part([(number, ())], [(number, ())], [])

    def _then(self, one: _Part, other: _Part) -> _Part:
        for last, left in one.last:
            self.follow[last] += [(first, left + right) for first, right in other.first]
        return _Part(
            one.first + [(first, left + right) for left in one.empty for first, right in other.first],
            other.last + [(last, left + right) for right in other.empty for last, left in one.last],
            [left + right for left in one.empty for right in other.empty],
        )

    def _sequence(self, nodes: list, flags: int) -> _Part:
        part = _Part(empty=[()])
        for node in nodes:
            part = self._then(part, self._node(node, flags))
        return part

    def _either(self, parts: list[_Part]) -> _Part:
        return _Part(*([one for part in parts for one in getattr(part, name)] for name in ("first", "last", "empty")))

    def _repeat(self, least: int, most: int, body: list, flags: int) -> _Part:
        part = _Part(empty=[()])
        for _ in range(min(least, UNROLLED)):
            part = self._then(part, self._sequence(body, flags))
        if most > UNBOUNDED:
            loop = self._sequence(body, flags)
            for last, left in list(loop.last):
                self.follow[last] += [(first, left + right) for first, right in loop.first]
            return self._then(part, _Part(loop.first, loop.last, [()]))
        more = _Part(empty=[()])
        for _ in range(min(most, least + UNROLLED) - least):
            again = self._sequence(body, flags)
            again.empty = []  # `re` does not repeat a body that matches nothing
            more = self._then(again, more)
            more.empty = [()]
        return self._then(part, more)

    def _node(self, node: tuple, flags: int) -> _Part:
        op, argument = node
        if op in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY):
            return self._place(_test(node, flags, in_bytes=self.bytes))
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT) or str(op) == "POSSESSIVE_REPEAT":
            least, most, body = argument
            return self._repeat(least, most, list(body), flags)
        if op == sre.SUBPATTERN:
            group, add, remove, body = argument
            self.groups[group] = (list(body), (flags | add) & ~remove)
            return self._sequence(*self.groups[group])
        if op == sre.BRANCH:
            return self._either([self._sequence(list(one), flags) for one in argument[1]])
        if op == sre.AT:
            return _Part(empty=[((str(argument), flags),)])
        if op == sre.GROUPREF:
            return self._sequence(*self.groups[argument])
        if op == sre.GROUPREF_EXISTS:
            _, yes, no = argument
            return self._either([self._sequence(list(one or ()), flags) for one in (yes, no)])
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            direction, body = argument
            if len(body) == 1 and body[0][0] in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY):
                test = _test(body[0], flags, in_bytes=self.bytes)
                return _Part(empty=[(("look", direction, op == sre.ASSERT, test),)])
            inner = self._sequence(list(body), flags)  # is tried, and leads nowhere
            return _Part(inner.first, [], [(("unknown",),)])
        if str(op) == "ATOMIC_GROUP":
            return self._sequence(list(argument), flags)
        raise NotImplementedError(f"{op} in a regular expression")


def _test(node: tuple, flags: int, *, in_bytes: bool) -> frozenset[str]:
    """The characters of the alphabet that a place accepts, as `re` itself decides."""
    return _accepted(_source(*node), flags & (re.IGNORECASE | re.ASCII | re.DOTALL), in_bytes=in_bytes)


@cache
def _accepted(source: str, flags: int, *, in_bytes: bool) -> frozenset[str]:
    if in_bytes:
        compiled = re.compile(source.encode(), flags)
        return frozenset(one for one in ALPHABET if ord(one) < 256 and compiled.match(one.encode("latin-1")))
    text = re.compile(source, flags)
    return frozenset(one for one in ALPHABET if text.match(one))


def _source(op: Any, argument: Any) -> str:
    """The text of a syntax tree's node that reads one character."""
    if op == sre.ANY:
        return "."
    if op == sre.LITERAL:
        return _escaped(argument)
    if op == sre.NOT_LITERAL:
        return f"[^{_escaped(argument)}]"
    parts = []
    for inner, value in argument:
        if inner == sre.NEGATE:
            parts.append("^")
        elif inner == sre.LITERAL:
            parts.append(_escaped(value))
        elif inner == sre.RANGE:
            parts.append(f"{_escaped(value[0])}-{_escaped(value[1])}")
        elif inner == sre.CATEGORY:
            name = str(value).removeprefix("CATEGORY_")
            letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name.removeprefix("NOT_")]
            parts.append("\\" + (letter.upper() if name.startswith("NOT_") else letter))
        else:
            raise NotImplementedError(f"{inner} in a set of characters")
    return f"[{''.join(parts)}]"


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"


def _word(char: Any, flags: int) -> bool:
    return isinstance(char, str) and re.match(r"\w", char, flags & re.ASCII) is not None


def _holds(condition: tuple, before: Any, after: Any) -> bool:
    """Whether an assertion may hold between two characters, each of which may be unknown or the text's limit."""
    if condition[0] == "unknown":
        return True
    if condition[0] == "look":
        _, direction, positive, test = condition
        char = before if direction < 0 else after
        if char is _ANY:
            return True
        return (char in test if isinstance(char, str) else False) == positive
    where, flags = condition
    if where in ("AT_BEGINNING", "AT_BEGINNING_STRING", "AT_BEGINNING_LINE"):
        many = where == "AT_BEGINNING_LINE" or (where == "AT_BEGINNING" and flags & re.MULTILINE)
        return before is _START or bool(many and before == "\n")
    if where in ("AT_END", "AT_END_STRING", "AT_END_LINE"):
        return after in (_END, _ANY) or (where != "AT_END_STRING" and after == "\n")
    if where in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
        if _ANY in (before, after):
            return True
        return (_word(before, flags) != _word(after, flags)) == (where == "AT_BOUNDARY")
    raise NotImplementedError(f"{where} in a regular expression")


#: A place and the character that it has read; the places of the start and of the search are -1.
_State = tuple


def findings(pattern: str | bytes, flags: int = 0, how: str = "search") -> list[Finding]:
    """Why an expression is not linear; `how` is `search`, `match` or `fullmatch`. Empty if it is."""
    automaton = _Automaton(pattern, int(flags))
    edges, sure = _graph(automaton, how)
    words = _words(edges)
    found = _exponential(edges, sure, words)
    return found or _polynomial(edges, sure, words)


def hostile_texts(pattern: str | bytes, flags: int = 0, how: str = "search") -> list[tuple[str, str]]:
    """For every loop of an expression, characters that lead into it, and characters that repeat it."""
    edges, _ = _graph(_Automaton(pattern, int(flags)), how)
    words = _words(edges)
    loops = [state for state in _looping(edges) if state[0] >= 0]
    return list(dict.fromkeys((words[state], _way(edges, state, state) or "") for state in loops))


def _graph(automaton: _Automaton, how: str) -> tuple[dict[_State, list[tuple[str, _State]]], set[_State]]:
    """Ways by one character between states, and the states at which the expression has surely matched."""
    chars = _kinds(automaton)
    edges: dict[_State, list[tuple[str, _State]]] = {}
    whole = automaton.whole
    ends = {last for last, conditions in whole.last if not conditions}
    waiting: deque = deque([(-1, _START)])
    while waiting:
        state = waiting.popleft()
        if state in edges:
            continue
        place, before = state
        follow = whole.first if place < 0 else automaton.follow[place]
        out = [
            (char, (then, char))
            for then, conditions in follow
            for char in chars
            if char in automaton.places[then] and all(_holds(one, before, char) for one in conditions)
        ]
        if place < 0 and how == "search":
            out += [(char, (-1, char)) for char in chars]
        edges[state] = out
        waiting.extend(then for _, then in out)
    edges = _merged(edges)
    sure = {state for state in edges if state[0] in ends}
    while how == "fullmatch":  # of these, the ones that can read any rest of the text
        kept = {one for one in sure if {char for char, then in edges[one] if then in sure} == set(chars)}
        if kept == sure:
            break
        sure = kept
    return edges, sure


def _merged(edges: dict) -> dict:
    """The states of one place that have the same ways on, in one, so that there are fewer."""
    same: dict = {}
    names = {}
    for state, out in edges.items():
        place, before = state
        names[state] = same.setdefault((place, before is _START, tuple(out)), state)
    return {state: [(char, names[then]) for char, then in out] for state, out in edges.items() if names[state] == state}


def _kinds(automaton: _Automaton) -> list[str]:
    """One character of each kind that the expression tells apart."""
    tests = list(dict.fromkeys(automaton.places))
    for conditions in _conditions(automaton):
        tests += [one[3] for one in conditions if one[0] == "look"]
    bounded = any(str(one[0]).endswith("BOUNDARY") for conditions in _conditions(automaton) for one in conditions)
    kinds: dict[tuple, str] = {}
    for char in sorted(ALPHABET, key=lambda one: (not (one.isascii() and one.isprintable()), one)):
        if automaton.bytes and ord(char) > 255:
            continue
        key = (*(char in test for test in tests), char == "\n", bounded and _word(char, 0))
        kinds.setdefault(key, char)
    return list(kinds.values())


def _conditions(automaton: _Automaton) -> list[tuple]:
    ways = [one for out in automaton.follow.values() for one in out]
    whole = automaton.whole
    return [conditions for _, conditions in (*ways, *whole.first, *whole.last)] + whole.empty


def _looping(edges: dict) -> dict[_State, int]:
    """The states that lie on a cycle, with the number of their strongly connected component."""
    order, seen = [], set()
    for root in edges:
        stack = [(root, iter(()), True)]
        while stack:
            state, rest, new = stack.pop()
            if new:
                if state in seen:
                    continue
                seen.add(state)
                rest = iter([then for _, then in edges[state]])
            for then in rest:
                if then not in seen:
                    stack += [(state, rest, False), (then, iter(()), True)]
                    break
            else:
                order.append(state)
    backwards: dict = defaultdict(list)
    for state, out in edges.items():
        for _, then in out:
            backwards[then].append(state)
    component: dict[_State, int] = {}
    for number, root in enumerate(reversed(order)):
        stack = [root]
        while stack:
            state = stack.pop()
            if state not in component:
                component[state] = number
                stack += backwards[state]
    sizes: dict[int, int] = defaultdict(int)
    for number in component.values():
        sizes[number] += 1
    return {
        state: number
        for state, number in component.items()
        if sizes[number] > 1 or any(then == state for _, then in edges[state])
    }


def _without(edges: dict, removed: set) -> dict:
    return {
        state: [(char, then) for char, then in out if then not in removed]
        for state, out in edges.items()
        if state not in removed
    }


def _words(edges: dict) -> dict[_State, str]:
    """The shortest characters that lead to each state from the start."""
    start = (-1, _START)
    words = {start: ""}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for char, then in edges[state]:
            if then not in words:
                words[then] = words[state] + char
                waiting.append(then)
    return words


def _way(edges: dict, start: _State, goal: _State) -> str | None:
    """The shortest characters that lead from a state to another one, or back to itself."""
    seen = {}
    waiting = deque([(start, "")])
    while waiting:
        state, word = waiting.popleft()
        for char, then in edges.get(state, ()):
            if then == goal:
                return word + char
            if then not in seen:
                seen[then] = True
                waiting.append((then, word + char))
    return None


def _exponential(edges: dict, sure: set, words: dict) -> list[Finding]:
    inner = _without(edges, sure)
    components = _looping(inner)
    for root in components:
        number = components[root]
        # Pairs of ways from `root`; `True` once they have differed
        seen = {(root, root, False)}
        waiting = deque([(root, root, False, "")])
        while waiting:
            left, right, differ, word = waiting.popleft()
            by_char: dict[str, list[tuple[int, _State]]] = defaultdict(list)
            for place, (char, then) in enumerate(inner[right]):
                if components.get(then) == number:
                    by_char[char].append((place, then))
            for place, (char, then) in enumerate(inner[left]):
                if components.get(then) != number:
                    continue
                for other_place, other in by_char[char]:
                    now = differ or (left == right and place != other_place) or then != other
                    if now and then == other == root:
                        return [Finding("exponential", words[root], word + char)]
                    pair = (then, other, now)
                    if pair not in seen:
                        seen.add(pair)
                        waiting.append((*pair, word + char))
    return []


def _polynomial(edges: dict, sure: set, words: dict) -> list[Finding]:
    components = _looping(edges)
    inner = _without(edges, sure)
    ends = _looping(inner)
    reach: dict[int, set] = {}
    tried = set()
    for one in components:
        reached = reach.setdefault(components[one], _reached(edges, one))
        for other in ends:
            if other not in reached or other[0] < 0 or one == other:
                continue
            key = (one, other)
            if key in tried:
                continue
            tried.add(key)
            if (word := _triple(edges, inner, components, ends, one, other)) is not None:
                return [Finding("polynomial", words[one], word)]
    return []


def _reached(edges: dict, start: _State) -> set:
    seen, stack = set(), [start]
    while stack:
        for _, then in edges[stack.pop()]:
            if then not in seen:
                seen.add(then)
                stack.append(then)
    return seen


def _triple(edges: dict, inner: dict, components: dict, ends: dict, one: _State, other: _State) -> str | None:
    """Characters that lead from `one` to itself, from `one` to `other`, and from `other` to itself."""
    first, last = components[one], ends[other]
    goal = (one, other, other)
    seen = {(one, one, other)}
    waiting = deque([(one, one, other, "")])
    while waiting:
        left, middle, right, word = waiting.popleft()
        for char, then in inner[right]:
            if ends.get(then) != last:
                continue
            lefts = {to for by, to in edges[left] if by == char and components.get(to) == first}
            if not lefts:
                continue
            for middle_to in {to for by, to in edges[middle] if by == char}:
                for left_to in lefts:
                    triple = (left_to, middle_to, then)
                    if triple == goal:
                        return word + char
                    if triple not in seen:
                        seen.add(triple)
                        waiting.append((*triple, word + char))
    return None
