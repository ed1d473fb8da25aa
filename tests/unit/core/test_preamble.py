"""The preamble, run by every installed shell: what a program sees of its index, arguments and environment."""

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

# Every image has one of these; `sh` is the default of this machine
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
    """Run the command as Batch would, with `shell` as /bin/sh and the environment that Batch sets."""
    assert command[:2] == ["/bin/sh", "-c"]
    index = {} if child is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(child)}
    env = {"PATH": os.environ["PATH"], **dict(environment), **extra, **index}
    done = subprocess.run([*shell, *command[1:]], env=env, capture_output=True, check=False, timeout=60)
    # Decoded here, since text mode turns \r into \n
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def seen(shell, command, indices, size, *, child, environment=()):
    """Return what the program saw: (arguments, environment)."""
    wrapped, extra = wrap([sys.executable, "-c", SHOW, *command], indices, dict(environment), size=size)
    done = run(shell, wrapped, extra, child, environment)
    assert done.stderr == ""
    return json.loads(done.stdout)


def index_and_size(environment):
    return environment["AWS_BATCH_JOB_ARRAY_INDEX"], environment["AWS_BATCH_JOB_ARRAY_SIZE"]


@pytest.mark.parametrize(("child", "index"), [(0, "3"), (1, "17"), (2, "42")])
def test_children_of_a_resumed_array_see_their_original_indices(shell, child, index):
    """An array of 3 that runs indices 3, 17 and 42 of 50."""
    _, environment = seen(shell, [], IndexSet.of([3, 17, 42]), 50, child=child)
    assert (index, "50") == index_and_size(environment)


@pytest.mark.parametrize("indices", [[0], [42], [9_999]])
def test_a_single_job_sees_its_only_index(shell, indices):
    """AWS has no arrays of size 1 and sets no index for a single job."""
    _, environment = seen(shell, [], IndexSet.of(indices), 10_000, child=None)
    assert (str(indices[0]), "10000") == index_and_size(environment)


def test_an_array_of_one_sees_0(shell):
    """Its size is 1."""
    _, environment = seen(shell, [], IndexSet.range(1), 1, child=None)
    assert index_and_size(environment) == ("0", "1")


def test_a_complete_array_keeps_the_variables_that_aws_sets(shell):
    """No index is remapped."""
    _, extra = wrap(["true"], IndexSet.range(50), {}, size=50)
    assert extra == {}
    _, environment = seen(shell, [], IndexSet.range(50), 50, child=17, environment={"AWS_BATCH_JOB_ARRAY_SIZE": "50"})
    assert index_and_size(environment) == ("17", "50")


def test_the_second_array_of_a_large_job_continues_where_the_first_ends(shell):
    """A job with more than 10,000 indices consists of several arrays."""
    _, environment = seen(shell, [], IndexSet.range(10_000, 20_000), 25_000, child=5)
    assert index_and_size(environment) == ("10005", "25000")


def test_the_program_does_not_see_the_variables_of_the_preamble(shell):
    """It sees only its own variables."""
    own = {"n": "1", "w": "2", "at": "3", "first": "4", "v": "5"}
    _, environment = seen(shell, [], IndexSet.of([3, 17]), 50, child=0, environment=own)
    # Added by shells and Python
    for name in ("PATH", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"):
        environment.pop(name, None)
    assert {**own, "AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "50"} == environment


def test_arguments_and_environment_reach_the_program_unchanged(shell):
    """Quotes, newlines, $(…) and Unicode are never interpreted by the shell."""
    environment = {f"ODD_{number}": value for number, value in enumerate(ODD)}
    arguments, env = seen(shell, ODD, IndexSet.of([3, 17]), 50, child=1, environment=environment)
    assert arguments == ODD
    assert environment == {name: value for name, value in env.items() if name.startswith("ODD_")}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=6))
def test_any_argument_reaches_the_program_unchanged(arguments):
    """In each installed shell."""
    show = 'for argument; do printf "%s\\0" "$argument"; done'
    command, extra = wrap(["sh", "-c", show, "sh", *arguments], IndexSet.of([3]), {}, size=5)
    for shell in SHELLS:
        assert arguments == run(shell, command, extra, None).stdout.split("\0")[:-1]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 200), min_size=1, max_size=60) | st.sets(st.integers(0, 999_999), min_size=1, max_size=9))
@example({0})
@example(set(range(27, 57)))
@example(set(range(0, 300, 2)))
@example({28 * number for number in range(20)})
def test_child_i_sees_the_ith_index_of_any_set(members):
    """For any set, in both text forms, in each installed shell."""
    members = sorted(members)
    child = random.Random(len(members)).randrange(len(members))
    command, extra = wrap(["printenv", "AWS_BATCH_JOB_ARRAY_INDEX"], IndexSet.of(members), {}, size=1_000_000)
    for shell in SHELLS:
        assert f"{members[child]}\n" == run(shell, command, extra, child if len(members) > 1 else None).stdout


def test_each_child_of_a_scattered_array_of_10000_sees_its_index(shell):
    """First, last, and at the boundaries of the words of the bitmap."""
    members = sorted(random.Random(7).sample(range(10_000), 5_000))
    command, extra = wrap(["printenv", "AWS_BATCH_JOB_ARRAY_INDEX"], IndexSet.of(members), {}, size=10_000)
    edges = (number for number in range(1, 5_000) if members[number] % 28 in {0, 27})
    children = [0, 1, 2_499, 4_998, 4_999, *edges][:60]
    found = [run(shell, command, extra, child).stdout for child in children]
    assert [f"{members[child]}\n" for child in children] == found


def test_any_set_of_10000_leaves_room_for_the_users_environment():
    """Batch allows 8,192 bytes of overrides; the largest set leaves almost half of them."""
    for seed in range(5):
        indices = IndexSet.of(random.Random(seed).sample(range(10_000), 5_000))
        command, extra = wrap(["true"], indices, {}, size=10_000)
        assert sum(map(len, [*command, *extra, *extra.values()])) < 4_200


def test_the_shorter_form_is_used():
    """Ranges if they are short, else a bitmap."""
    assert [
        encode(IndexSet.of([3, 17, 42])),
        encode(IndexSet.of(range(5, 70, 2))),
    ] == ["3,17,42", "x5,5555555,5555555,155"]


def test_the_exit_code_of_the_program_is_that_of_the_job(shell):
    """The shell replaces itself with the program."""
    command, extra = wrap(["sh", "-c", "exit 37"], IndexSet.of([3]), {}, size=5)
    assert run(shell, command, extra, None).returncode == 37


def test_the_program_replaces_the_shell(shell):
    """The SIGTERM from Batch must reach the program itself."""
    command, extra = wrap([sys.executable, "-c", "import os; print(os.getpid())"], IndexSet.of([3]), {}, size=5)
    process = subprocess.Popen([*shell, *command[1:]], env={**os.environ, **extra}, stdout=subprocess.PIPE, text=True)
    assert f"{process.pid}\n" == process.communicate()[0]


def test_a_child_without_an_index_does_not_run_the_program(shell):
    """Running another index instead would be worse."""
    command, extra = wrap(["echo", "ran"], IndexSet.of([3, 17, 42]), {}, size=50)
    done = run(shell, command, extra, 3)
    assert (done.returncode, done.stdout) == (125, "")
    assert "child 3 has no index" in done.stderr


def test_a_request_without_a_command_is_rejected():
    """Before anything is submitted."""
    with pytest.raises(ValueError, match=r"^command: "):
        wrap([], IndexSet.range(3), {}, size=3)


def test_reserved_variable_names_are_rejected():
    """A user's variable with such a name would be lost silently."""
    with pytest.raises(ValueError, match="BATCHEMR_INDICES"):
        wrap(["true"], IndexSet.range(3), {"BATCHEMR_INDICES": "1"}, size=3)


def test_a_request_without_indices_is_rejected():
    """There is nothing to submit."""
    with pytest.raises(ValueError, match="at least one"):
        wrap(["true"], IndexSet(), {}, size=3)


@pytest.fixture
def fake_aws(tmp_path):
    """A program `aws` that writes the arguments of `s3api put-object` to the path in its key; BROKEN makes it fail."""
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1 $2 $3 $5 $6 $7 $9" = "s3api put-object --cli-input-json --bucket state --key --metadata" ] '
        '|| exit 9\n[ -z "$BROKEN" ] && printf %s "$4 ${10}" > "/$8"\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "AWS_BATCH_JOB_ID": "job-1:2"}


def in_job(shell, arguments, child, environment, folder):
    command, extra = wrap(arguments, IndexSet.of([3, 17, 42]), {}, size=50, done_uri=f"s3://state{folder}/done-")
    return run(shell, command, extra, child, environment)


def test_a_successful_index_writes_its_marker(shell, fake_aws, tmp_path):
    """Named by the original index, with the id of the job as metadata."""
    done = in_job(shell, ["sh", "-c", "cat; echo $AWS_BATCH_JOB_ARRAY_INDEX"], 1, fake_aws, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "17\n", "")
    assert (tmp_path / "done-17").read_text() == "{} job=job-1:2"


def test_a_marker_is_written_with_the_put_arguments(shell, fake_aws, tmp_path):
    """Those of `[batchemr] s3_put_args`, unchanged."""
    arguments = '{"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "a b"}'
    done = in_job(shell, ["true"], 1, {**fake_aws, "BATCHEMR_S3_PUT_ARGS": arguments}, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "done-17").read_text() == f"{arguments} job=job-1:2"


def test_a_failed_index_writes_no_marker(shell, fake_aws, tmp_path):
    """Its exit code is kept."""
    done = in_job(shell, ["sh", "-c", "exit 37"], 1, fake_aws, tmp_path)
    assert (done.returncode, list(tmp_path.glob("done-*"))) == (37, [])


def test_an_index_succeeds_even_if_its_marker_cannot_be_written(shell, fake_aws, tmp_path):
    """The job status in AWS takes precedence; the log shows the problem."""
    quick = tmp_path / "bin" / "sleep"
    quick.write_text("#!/bin/sh\nexit 0\n")
    quick.chmod(0o755)
    done = in_job(shell, ["true"], 1, {**fake_aws, "BROKEN": "1"}, tmp_path)
    assert (done.returncode, list(tmp_path.glob("done-*"))) == (0, [])
    assert "could not write" in done.stderr


def test_an_index_that_writes_its_marker_forwards_signals(shell, fake_aws, tmp_path):
    """The shell keeps running to write the marker, so it has to forward SIGTERM to the program."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(43))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    command, extra = wrap(
        [sys.executable, "-c", code], IndexSet.of([3]), {}, size=5, done_uri=f"s3://state{tmp_path}/done-"
    )
    process = subprocess.Popen(
        [*shell, *command[1:]], env={**fake_aws, **extra}, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (process.returncode, list(tmp_path.glob("done-*"))) == (43, [])
