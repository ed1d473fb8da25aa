"""The preamble, run by every shell that this machine has: what a program sees of its index and its arguments."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import encode, wrap

# Every image has one of these; `sh` is whatever this machine's is
SHELLS = [["sh"]] + [
    command
    for command in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"], ["ksh"], ["zsh", "--emulate", "sh"])
    if shutil.which(command[0])
]
SHOW = "import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], sys.stdout)"
ODD = [
    "it's",
    'say "hi"',
    "$(touch /nowhere)",
    "`id`",
    "$HOME ${HOME}",
    "a\nb\n",
    "größe ☃",
    "\\n \\\\",
    "-n",
    "--",
    "",
    " ",
    "*",
    "; exit 3",
    "Ref::name",
    "%s%d",
]


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request):
    return request.param


def run(shell, command, extra, child, environment=()):
    """Run what Batch would run: the command with /bin/sh as this shell, and the environment that Batch sets."""
    assert command[:2] == ["/bin/sh", "-c"]
    index = {} if child is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(child)}
    env = {"PATH": os.environ["PATH"], **dict(environment), **extra, **index}
    done = subprocess.run([*shell, *command[1:]], env=env, capture_output=True, check=False, timeout=60)
    # Decoded here, since text mode turns \r into \n
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def seen(shell, command, indices, size, *, child, environment=()):
    """Give what the program saw: (arguments, environment)."""
    argv, extra = wrap([sys.executable, "-c", SHOW, *command], indices, dict(environment), size=size)
    done = run(shell, argv, extra, child, environment)
    assert done.stderr == ""
    return json.loads(done.stdout)


def index_and_size(environment):
    return environment["AWS_BATCH_JOB_ARRAY_INDEX"], environment["AWS_BATCH_JOB_ARRAY_SIZE"]


@pytest.mark.parametrize(("child", "index"), [(0, "3"), (1, "17"), (2, "42")])
def test_a_resumed_array_shows_the_jobs_own_indices(shell, child, index):
    """An array of 3 that runs 3, 17 and 42 of 50."""
    _, environment = seen(shell, [], IndexSet.of([3, 17, 42]), 50, child=child)
    assert (index, "50") == index_and_size(environment)


@pytest.mark.parametrize("indices", [[0], [42], [9_999]])
def test_a_single_job_sees_its_one_index(shell, indices):
    """AWS takes no array of 1 and sets no index in a single job."""
    _, environment = seen(shell, [], IndexSet.of(indices), 10_000, child=None)
    assert (str(indices[0]), "10000") == index_and_size(environment)


def test_an_array_of_one_sees_0(shell):
    """And a size of 1."""
    _, environment = seen(shell, [], IndexSet.range(1), 1, child=None)
    assert index_and_size(environment) == ("0", "1")


def test_a_whole_array_keeps_what_aws_sets(shell):
    """Nothing has to be moved."""
    _, extra = wrap(["true"], IndexSet.range(50), {}, size=50)
    assert extra == {}
    _, environment = seen(shell, [], IndexSet.range(50), 50, child=17, environment={"AWS_BATCH_JOB_ARRAY_SIZE": "50"})
    assert index_and_size(environment) == ("17", "50")


def test_the_second_array_of_a_large_job_goes_on_where_the_first_ended(shell):
    """Above 10,000 indices."""
    _, environment = seen(shell, [], IndexSet.range(10_000, 20_000), 25_000, child=5)
    assert index_and_size(environment) == ("10005", "25000")


def test_the_program_does_not_see_the_preambles_own_names(shell):
    """Nor any other name than it was given."""
    own = {"n": "1", "w": "2", "at": "3", "first": "4", "v": "5"}
    _, environment = seen(shell, [], IndexSet.of([3, 17]), 50, child=0, environment=own)
    # What shells and Python add by themselves
    for name in ("PATH", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"):
        environment.pop(name, None)
    assert {**own, "AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "50"} == environment


def test_arguments_and_environment_reach_the_program_unchanged(shell):
    """Quotes, newlines, $(…), unicode: nothing of them is ever shell text."""
    environment = {f"ODD_{place}": value for place, value in enumerate(ODD)}
    argv, env = seen(shell, ODD, IndexSet.of([3, 17]), 50, child=1, environment=environment)
    assert argv == ODD
    assert environment == {name: value for name, value in env.items() if name.startswith("ODD_")}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=6))
def test_any_argument_reaches_the_program_unchanged(argv):
    """Under each of the shells at hand."""
    show = 'for word; do printf "%s\\0" "$word"; done'
    command, extra = wrap(["sh", "-c", show, "sh", *argv], IndexSet.of([3]), {}, size=5)
    for shell in SHELLS:
        assert argv == run(shell, command, extra, None).stdout.split("\0")[:-1]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 200), min_size=1, max_size=60) | st.sets(st.integers(0, 999_999), min_size=1, max_size=9))
@example({0})
@example(set(range(27, 57)))
@example(set(range(0, 300, 2)))
@example({28 * place for place in range(20)})
def test_child_i_sees_the_ith_index_of_any_set(members):
    """Of every set, in both of its forms, under each of the shells at hand."""
    members = sorted(members)
    child = random.Random(len(members)).randrange(len(members))
    command, extra = wrap(["printenv", "AWS_BATCH_JOB_ARRAY_INDEX"], IndexSet.of(members), {}, size=1_000_000)
    for shell in SHELLS:
        assert f"{members[child]}\n" == run(shell, command, extra, child if len(members) > 1 else None).stdout


def test_each_child_of_a_scattered_array_of_10000_sees_its_own(shell):
    """First, last, and at the borders of the bitmap's words."""
    members = sorted(random.Random(7).sample(range(10_000), 5_000))
    command, extra = wrap(["printenv", "AWS_BATCH_JOB_ARRAY_INDEX"], IndexSet.of(members), {}, size=10_000)
    children = [0, 1, 2_499, 4_998, 4_999, *(place for place in range(1, 5_000) if members[place] % 28 in {0, 27})][:60]
    found = [run(shell, command, extra, child).stdout for child in children]
    assert [f"{members[child]}\n" for child in children] == found


def test_any_set_of_10000_fits_beside_the_users_own_environment():
    """8,192 bytes are all that Batch allows for overrides; the worst set leaves more than half of them."""
    for seed in range(5):
        indices = IndexSet.of(random.Random(seed).sample(range(10_000), 5_000))
        command, extra = wrap(["true"], indices, {}, size=10_000)
        assert sum(map(len, [*command, *extra, *extra.values()])) < 4_200


def test_the_shorter_form_travels():
    """Ranges where they are short, else words of bits."""
    assert [
        encode(IndexSet.of([3, 17, 42])),
        encode(IndexSet.of(range(5, 70, 2))),
    ] == ["3,17,42", "x5,5555555,5555555,155"]


def test_the_programs_exit_code_is_the_jobs(shell):
    """The shell has become the program."""
    command, extra = wrap(["sh", "-c", "exit 37"], IndexSet.of([3]), {}, size=5)
    assert run(shell, command, extra, None).returncode == 37


def test_the_shell_is_gone_when_the_program_runs(shell):
    """So that Batch's SIGTERM reaches the program itself."""
    command, extra = wrap([sys.executable, "-c", "import os; print(os.getpid())"], IndexSet.of([3]), {}, size=5)
    process = subprocess.Popen([*shell, *command[1:]], env={**os.environ, **extra}, stdout=subprocess.PIPE, text=True)
    assert f"{process.pid}\n" == process.communicate()[0]


def test_a_child_beyond_the_set_does_not_run_the_program(shell):
    """Running some other index instead would be worse."""
    command, extra = wrap(["echo", "ran"], IndexSet.of([3, 17, 42]), {}, size=50)
    done = run(shell, command, extra, 3)
    assert (done.returncode, done.stdout) == (125, "")
    assert "child 3 has no index" in done.stderr


def test_a_request_without_a_command_is_refused():
    """Before anything is submitted."""
    with pytest.raises(ValueError, match=r"^command: "):
        wrap([], IndexSet.range(3), {}, size=3)


def test_names_of_the_preamble_are_taken():
    """A user's variable of that name would be lost without a word."""
    with pytest.raises(ValueError, match="BATCHEMR_INDICES"):
        wrap(["true"], IndexSet.range(3), {"BATCHEMR_INDICES": "1"}, size=3)


def test_a_request_without_indices_is_refused():
    """There is nothing to submit."""
    with pytest.raises(ValueError, match="at least one"):
        wrap(["true"], IndexSet(), {}, size=3)


@pytest.fixture
def fake_aws(tmp_path):
    """A program `aws` that keeps what it is given under its last argument; BROKEN makes it fail."""
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1 $2 $3 $4" = "s3 cp --quiet -" ] || exit 9\n[ -z "$BROKEN" ] && cat > "$5"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "AWS_BATCH_JOB_ID": "job-1:2"}


def in_job(shell, argv, child, environment, folder):
    command, extra = wrap(argv, IndexSet.of([3, 17, 42]), {}, size=50, done_uri=f"{folder}/done-")
    return run(shell, command, extra, child, environment)


def test_a_marker_of_its_own_is_written_by_an_index_that_succeeded(shell, fake_aws, tmp_path):
    """With the id of the job, under the job's own index."""
    done = in_job(shell, ["sh", "-c", "cat; echo $AWS_BATCH_JOB_ARRAY_INDEX"], 1, fake_aws, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "17\n", "")
    assert (tmp_path / "done-17").read_text() == "job-1:2"


def test_a_failed_index_writes_no_marker_of_its_own(shell, fake_aws, tmp_path):
    """And keeps its exit code."""
    done = in_job(shell, ["sh", "-c", "exit 37"], 1, fake_aws, tmp_path)
    assert (done.returncode, list(tmp_path.glob("done-*"))) == (37, [])


def test_an_index_succeeds_although_its_own_marker_could_not_be_written(shell, fake_aws, tmp_path):
    """AWS's word counts while AWS remembers; the log says what was missing."""
    quick = tmp_path / "bin" / "sleep"
    quick.write_text("#!/bin/sh\nexit 0\n")
    quick.chmod(0o755)
    done = in_job(shell, ["true"], 1, {**fake_aws, "BROKEN": "1"}, tmp_path)
    assert (done.returncode, list(tmp_path.glob("done-*"))) == (0, [])
    assert "could not write" in done.stderr


def test_a_stopped_index_that_marks_itself_passes_the_signal_on(shell, fake_aws, tmp_path):
    """The shell has to stay for the marker, so it tells the program that Batch wants it to end."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(43))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    command, extra = wrap([sys.executable, "-c", code], IndexSet.of([3]), {}, size=5, done_uri=f"{tmp_path}/done-")
    process = subprocess.Popen(
        [*shell, *command[1:]], env={**fake_aws, **extra}, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (process.returncode, list(tmp_path.glob("done-*"))) == (43, [])
