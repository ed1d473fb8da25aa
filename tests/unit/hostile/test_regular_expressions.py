"""Every regular expression of the package takes time in proportion to the text that it is matched with.

`re` holds the interpreter's lock while it matches: an expression that is quadratic in the length of a line stops the
event loop of a triggerer even from a thread. The verdict comes from the expressions themselves (see `regex_analysis`),
not from a clock. In addition, all are run over long hostile texts, in a process with a limit of CPU seconds.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

import airflow_batchemr
from airflow_batchemr.core import service_models
from airflow_batchemr.pipeline_file.json_schema import json_schema
from airflow_batchemr.pipeline_file.models.base import without_templates
from tests.unit.hostile.bounds import bounded
from tests.unit.hostile.regex_analysis import findings, hostile_texts

PACKAGE = Path(airflow_batchemr.__file__).parent
#: Position of the flags among the arguments of `re`'s functions.
FUNCTIONS = {"compile": 1, "search": 2, "match": 2, "fullmatch": 2, "findall": 2, "finditer": 2, "split": 3, "sub": 4}
METHODS = {"subn", *FUNCTIONS} - {"compile"}
#: Expressions that exist only while the package runs, by file and source text: with the values that they can have.
BUILT = {
    ("aws/batch/results.py", "pattern"): lambda module: module._CAUSES.values(),
    ("aws/emr/diagnosis.py", "pattern"): lambda module: [*module._KINDS.values(), *(one[1] for one in module.ADVICE)],
    ("aws/emr/start_failures.py", "pattern"): lambda module: module._KINDS,
    ("aws/emr/preflight.py", "f'{re.escape(wanted)}(?![0-9])'"): lambda _: [r"3\.5(?![0-9])"],
    ("engine/ownership.py", r"f'{re.escape(expected)}\\d{{4,}}\\]\\Z'"): lambda _: [r"\[a\-1\-s\d{4,}\]\Z"],
    ("pipeline_file/checks/shells.py", "one.name"): lambda module: [one.name for one in module._INTERPRETERS],
    ("core/service_models.py", "pattern"): lambda module: [one for one, _ in module._FORMATS.values()],
    ("pipeline_file/discovery.py", "self._key"): lambda module: [module._NameSearch("a_b")._key.pattern],
    ("pipeline_file/models/base.py", "self.pattern"): lambda _: [],  # those of the JSON Schema
    ("pipeline_file/importers/step_functions/clusters.py", "pattern"): lambda _: [
        r"s3[an]?://.+",
        r"emr-\d+\.\d+\.\d+",
    ],
    ("local/job_runs/requests.py", "pattern"): lambda _: [r"(emr-\d+\.\d+\.\d+)"],
    ("local/protocol.py", "pattern"): lambda _: [
        r"/tags/(?P<resourceArn>.+)",
        r"/virtualclusters/(?P<virtualClusterId>[^/]+)/jobruns/(?P<jobRunId>[^/]+)",
    ],
}
#: How those are used that have no name.
USED = {("local/protocol.py", "pattern"): "fullmatch"}
#: Expressions that are not the package's own, and the bound on their text.
FOREIGN = {
    ("core/service_models.py", "pattern.replace(*_SURROGATES)"): "botocore's: see test_patterns_of_aws_models_…",
    ("local/constraints.py", "pattern.replace(*SURROGATES)"): "botocore's",
    ("local/s3_dist_cp.py", "options.srcPattern"): "of the user of the local AWS, who runs programs there anyway",
    ("pipeline_file/checks/patterns.py", "pattern"): "is only compiled",
}
#: Expressions that are not linear, why that is harmless, and the bound on their text.
ALLOWED = {
    ("pipeline_file/reference.py", "_TABLE"): "reads the pages of the package's own documentation, some 100 kB",
}


@dataclass(frozen=True)
class Expression:
    where: str
    pattern: str | bytes
    flags: int
    how: str


@cache
def sources():
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def module_of(file):
    sys.path.append(str(PACKAGE / "local"))  # of the scripts, which import each other from their own folder
    try:
        name = ".".join(("airflow_batchemr", *Path(file).with_suffix("").parts)).removesuffix(".__init__")
        return importlib.import_module(name)
    finally:
        sys.path.pop()


def kind(method):
    return method if method in ("match", "fullmatch") else "search"


def uses_of(tree):
    """How the names in a module are used for matching: also `search` if they are used in another way than by a call."""
    uses, calls = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in METHODS:
            uses.setdefault(node.value.id, set()).add(kind(node.attr))
            calls.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in calls:
            uses.setdefault(node.id, set()).add("search")
    return uses


def imported(tree):
    """The names that a module imports from others, with the files of these."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_batchemr."):
            file = node.module.removeprefix("airflow_batchemr.").replace(".", "/")
            for one in node.names:
                yield one.asname or one.name, (f"{file}.py", one.name)


@cache
def uses():
    """How each compiled expression is used, by file and name."""
    found = {}
    for file, tree in sources().items():
        names = dict(imported(tree))
        for name, hows in uses_of(tree).items():
            found.setdefault(names.get(name, (file, name)), set()).update(hows)
    return found


def flags_of(call, names):
    position = FUNCTIONS[call.func.attr]
    given = [one.value for one in call.keywords if one.arg == "flags"] + call.args[position : position + 1]
    return int(eval(ast.unparse(given[0]), names)) if given else 0  # noqa: S307 - our own source text


@cache
def expressions():
    """Every expression of the package, with every way in which it is used."""
    found, unknown = {}, []
    for file, tree in sources().items():
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in FUNCTIONS
        ]
        targets = {
            id(node.value): ast.unparse(node.targets[0]) for node in ast.walk(tree) if isinstance(node, ast.Assign)
        }
        for call in calls:
            names = vars(module_of(file))
            source, target = ast.unparse(call.args[0]), targets.get(id(call))
            if (file, source) in FOREIGN or (file, target) in ALLOWED:
                continue
            key = next((key for key in ((file, source), (file, target)) if key in BUILT), None)
            try:
                patterns = BUILT[key](module_of(file)) if key else [eval(source, names)]  # noqa: S307 - as above
            except Exception as error:  # noqa: BLE001 - reported with all others
                unknown.append(f"{file}:{call.lineno}: {source}: {error}")
                continue
            hows = {kind(call.func.attr)}
            if call.func.attr == "compile":
                hows = uses().get((file, target)) or {USED.get((file, source), "search")}
            for pattern in patterns:
                for how in hows:
                    one = Expression(f"{file}:{call.lineno}", pattern, flags_of(call, names), how)
                    found[one.pattern, one.flags, one.how] = one
    for pattern in schema_patterns(json_schema()):
        found[pattern, 0, "search"] = Expression("the JSON Schema", pattern, 0, "search")
    assert not unknown, f"add what they can be to BUILT: {unknown}"
    return list(found.values())


def schema_patterns(schema):
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            elif key == "patternProperties":
                yield from value
            yield from schema_patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from schema_patterns(value)


def test_every_expression_is_linear():
    """Cut the text, anchor the expression, or give a repeat a maximum."""
    found = [f"{one.where}: {one.how} {one.pattern!r}: {why}" for one in expressions() for why in findings_of(one)]
    assert not found, "\n".join(found)


@cache
def findings_of(one):
    return findings(one.pattern, one.flags, one.how)


def test_every_compiled_expression_of_the_modules_is_among_them():
    """Also those in lists and classes, however they were made."""
    known = {one.pattern for one in expressions()}
    missing = []
    for file in sources():
        if file.endswith("__main__.py"):
            continue
        for name, value in vars(module_of(file)).items():
            values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
            values = list(value.values()) if isinstance(value, dict) else values
            values = [*values, *vars(value).values()] if isinstance(value, type) else values
            for one in values:
                ours = isinstance(one, re.Pattern) and (file, name) not in ALLOWED
                if ours and one.pattern not in known:
                    missing.append(f"{file}: {name}: {one.pattern}")
    assert not missing


def test_expressions_are_only_made_in_the_ways_that_these_tests_find():
    """As `re.search`, not with an alias, and not with another library."""
    for file, tree in sources().items():
        for node in ast.walk(tree):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            # Globs of the local AWS are those of its user, who runs programs there anyway
            assert not {"regex", "re2", "fnmatch"} & set(names) or file == "local/hadoop_files.py", file
            assert not (isinstance(node, ast.ImportFrom) and node.module == "re"), file
            assert not any(one.name == "re" and one.asname for one in getattr(node, "names", ())), file


@pytest.mark.parametrize(
    ("pattern", "how", "kind"),
    [
        (r"(a+)+b", "match", "exponential"),
        (r"(a*)*b", "match", "exponential"),
        (r"(a|a)*b", "match", "exponential"),
        (r"(a|ab|b)*c", "match", "exponential"),
        (r"(.[0-9A-Za-z]{2,4})+/", "match", "exponential"),
        (r"(a+)+", "fullmatch", "exponential"),
        (r"\s+$", "search", "polynomial"),
        (r"a*a*b", "match", "polynomial"),
        (r"a*a*", "fullmatch", "polynomial"),
        (r"<.*?>", "search", "polynomial"),
        (r"b(?:b*c)?", "search", "polynomial"),
        (r"(?=.*x)a", "search", "polynomial"),
        (r"(?m)^\s+at ", "search", "polynomial"),
        (r"[^\n]*Container killed on request[^\n]*", "search", "polynomial"),  # stopped a triggerer
        (r"((?:[A-Za-z_$][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error))(?=:|\s|$)", "search", "polynomial"),  # as well
        (r"a*a*", "match", None),
        (r"\s+$", "match", None),
        (r"(a+)+", "match", None),
        (r"\W+", "search", None),
        (r"\b\d+x", "search", None),
        (r"(?<!\w)\w+x", "search", None),
        (r"<[^<>]*>", "search", None),
        (r"(?:, \w+)*", "search", None),
        (r"^\s+at ", "search", None),
        (r".*\S.*", "fullmatch", "polynomial"),
        (r"(?s).*\S.*", "fullmatch", None),
    ],
)
def test_the_analysis_finds_what_is_not_linear(pattern, how, kind):
    """And nothing else."""
    assert [kind] == ([one.kind for one in findings(pattern, 0, how)] or [None])


def test_patterns_of_aws_models_are_linear_or_have_short_texts():
    """Parts in AWS's own form are checked against botocore's patterns, after their lengths."""
    session = botocore.session.get_session()
    shapes = {}

    def add(shape):
        if (service, shape.name) not in shapes:
            shapes[service, shape.name] = shape
            members = getattr(shape, "members", {}).values()
            for inner in (*members, *(getattr(shape, name, None) for name in ("member", "key", "value"))):
                if inner is not None:
                    add(inner)

    for service in ("batch", "emr", "emr-serverless", "emr-containers"):
        model = session.get_service_model(service)
        for operation in model.operation_names:
            if model.operation_model(operation).input_shape:
                add(model.operation_model(operation).input_shape)
    slow = {}
    for shape in shapes.values():
        pattern = shape.metadata.get("pattern")
        if pattern and shape.type_name == "string":
            pattern = pattern.replace(*service_models._SURROGATES)
            for found in findings(pattern, re.DOTALL, "fullmatch"):
                slow[shape.name] = found.kind, shape.metadata.get("max", 10**9)
    exponential = {name for name, (kind, _) in slow.items() if kind == "exponential"}
    assert exponential == {"PrometheusUrlString"} == set(service_models.SLOW_PATTERNS)
    assert all(longest <= 2_048 for name, (_, longest) in slow.items() if name not in exponential), slow


def test_a_url_is_not_matched_with_the_exponential_pattern_of_its_model():
    """AWS rejects it; matching it here would not end."""
    url = f"https://aps-workspaces.us-east-1.amazonaws.{'0' * 2_000}"
    remote = {"prometheusMonitoringConfiguration": {"remoteWriteUrl": url}}
    request = {"applicationId": "a", "executionRoleArn": "arn:aws:iam::123456789012:role/x", "clientToken": "x"}
    request["configurationOverrides"] = {"monitoringConfiguration": remote}
    assert [] == list(service_models.wrong_in_request("emr-serverless", "StartJobRun", request))


@given(st.lists(st.sampled_from(["{{", "}}", "{%", "%}", "{", "}", "%", " ", "x", "\n"]), max_size=12).map("".join))
def test_templates_are_removed_as_by_an_expression(text):
    """The expression is quadratic in the number of templates that do not end."""
    assert re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.DOTALL) == without_templates(text)


def test_templates_that_do_not_end_are_searched_for_their_end_once():
    """A text of a megabyte took minutes."""
    text = "{{ {% " * 20_000
    with bounded(memory=20 * 2**20, lines=400_000):
        assert text == without_templates(text)


#: Matches every expression with every text; its CPU time is limited.
CHILD = """\
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1]) + 1))
for pattern, as_bytes, flags, how, texts in json.load(sys.stdin):
    compiled = re.compile(pattern.encode("latin-1") if as_bytes else pattern, flags)
    for before, pumped, after in texts:
        text = before + pumped * (int(sys.argv[2]) // len(pumped)) + after
        text = text.encode("latin-1", "replace") if as_bytes else text
        if how == "search":
            for _ in compiled.finditer(text):
                pass
        else:
            getattr(compiled, how)(text)
"""


def run(several, seconds, size):
    """Exit status of a process that matches expressions with hostile texts of some size."""
    work = []
    for one in several:
        as_bytes = isinstance(one.pattern, bytes)
        loops = hostile_texts(one.pattern, one.flags, one.how)
        texts = [(before, pumped, "\0") for before, pumped in loops]
        texts += [("", before + pumped, "\0") for before, pumped in loops]
        texts += [("", one, "\0") for one in (" ", "\n", "a", "0", ".")]
        pattern = one.pattern.decode("latin-1") if as_bytes else one.pattern
        work.append((pattern, as_bytes, one.flags, one.how, list(dict.fromkeys(texts))))
    command = [sys.executable, "-c", CHILD, str(seconds), str(size)]
    return subprocess.run(command, input=json.dumps(work), text=True, check=False).returncode


def test_hostile_texts_of_all_loops_are_matched_in_bounded_cpu_time():
    """For these sizes, a quadratic expression takes minutes, and all of them together take some seconds."""
    assert 0 == run(expressions(), 60, 250_000)


@pytest.mark.parametrize("pattern", [r"\s+$", r"(a+)+b", r"[^\n]*Container killed"])
def test_expressions_that_are_not_linear_do_not_end_in_that_time(pattern):
    """The limit of CPU time works, and the texts are hostile."""
    assert -signal.SIGXCPU == run([Expression("", pattern, 0, "search")], 2, 250_000)
