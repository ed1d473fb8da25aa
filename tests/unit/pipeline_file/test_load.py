"""`load_file`: defaults, folders, environments, variables, matrix, extends, and reading one pipeline of many."""

from __future__ import annotations

import textwrap

import pytest

from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.extract import extract_entries

JOB = "{image: 'i:1', queue: q, command: c}"


@pytest.fixture
def load(tmp_path):
    """Write files (by name, or one) and load the last one."""

    def loaded(*texts: str, more: dict[str, str] | None = None, **options):
        for name, text in (more or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        path = tmp_path / "dags" / "team" / "a.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(texts[0]))
        return load_file(path, **options)

    return loaded


def only(spec):
    """The one pipeline of a file without errors."""
    assert [] == [str(error) for error in spec.errors]
    (pipeline,) = spec.pipelines.values()
    return pipeline


def test_the_flat_form_is_a_pipeline_of_one_job(load):
    """The job has the pipeline's name, and the pipeline's words stay the pipeline's."""
    pipeline = only(load(f"a: {{schedule: '@daily', description: x, deadline: 2h, retries: 3, batch: {JOB}}}"))
    assert ("a", "@daily", "x", 7200) == (
        pipeline.name,
        pipeline.schedule.cron,
        pipeline.description,
        pipeline.deadline,
    )
    (job,) = pipeline.jobs.values()
    assert ("a", 3, None, 7200) == (job.name, job.retries, job.description, job.deadline)


def test_what_a_job_does_not_say_the_pipeline_says(load):
    """Connection, region and skip_if_succeeded."""
    text = f"""
    a:
      aws_conn_id: one
      region: eu-west-1
      skip_if_succeeded: false
      jobs:
        x: {{batch: {JOB}}}
        y: {{aws_conn_id: two, skip_if_succeeded: true, batch: {JOB}}}
    """
    jobs = only(load(text)).jobs
    assert ("one", "eu-west-1", False) == (jobs["x"].aws_conn_id, jobs["x"].region, jobs["x"].skip_if_succeeded)
    assert ("two", "eu-west-1", True) == (jobs["y"].aws_conn_id, jobs["y"].region, jobs["y"].skip_if_succeeded)


def test_defaults_are_merged_deeply_the_nearest_wins(load):
    """File, then the pipeline's own, then the job; mappings are merged, all else is replaced."""
    text = """
    defaults:
      state: s3://file
      tags: [file]
      retries: 1
      batch: {queue: file, attempts: 2, env: {A: file, B: file}}
    a:
      tags: [pipeline]
      defaults: {retries: 2, batch: {env: {B: pipeline}}}
      jobs:
        x: {retries: 3, batch: {image: 'i:1', command: c, env: {C: job}}}
        y: {batch: {image: 'i:1', command: c, attempts: null}}
    """
    pipeline = only(load(text))
    assert ("s3://file", ["pipeline"]) == (pipeline.state, pipeline.tags)
    x, y = pipeline.jobs.values()
    assert (3, "file", 2, {"A": "file", "B": "pipeline", "C": "job"}) == (
        x.retries,
        x.batch.queue,
        x.batch.attempts,
        x.batch.env,
    )
    assert (2, None) == (y.retries, y.batch.attempts)


def test_a_block_of_defaults_is_for_jobs_that_have_it(load):
    """A job without `batch` does not get one; a shared or existing cluster gets no words of a new one."""
    text = """
    defaults:
      batch: {queue: q}
      emr: {release: emr-7.5.0, log_uri: s3://logs/}
      steps: [hostname]
    a:
      clusters: {shared: {type: m5.xlarge, instances: 3}}
      jobs:
        own: {emr: {type: m5.xlarge, instances: 2}}
        used: {emr: {cluster: shared}}
        any: {operator: some.Operator}
    """
    pipeline = only(load(text))
    own, used, operator = pipeline.jobs.values()
    assert (None, "emr-7.5.0", None, None) == (own.batch, own.emr.release, used.emr.release, operator.batch)
    assert ("emr-7.5.0", "s3://logs/") == (pipeline.clusters["shared"].release, pipeline.clusters["shared"].log_uri)
    assert (1, 1, None) == (len(own.steps), len(used.steps), operator.steps)


def test_folders_have_defaults_the_nearest_wins(load):
    """Each `defaults.yaml` from the topmost folder down to the file's, then the file."""
    more = {
        ".airflowignore": "",
        "defaults.yaml": "defaults: {retries: 1, owner: top, pool: top}",
        "dags/team/defaults.yaml": "defaults: {retries: 2, owner: team, batch: {queue: team}}",
    }
    pipeline = only(load("defaults: {retries: 3}\na: {batch: {image: 'i:1', command: c}}", more=more))
    job = pipeline.jobs["a"]
    assert ("team", 3, "top", "team") == (pipeline.owner, job.retries, job.pool, job.batch.queue)


def test_folders_above_the_top_do_not_count(load, tmp_path):
    """Without a top only the file's own folder counts; with `root` all up to it."""
    more = {"defaults.yaml": "defaults: {owner: outside}", "dags/defaults.yaml": "defaults: {pool: dags}"}
    text = f"a: {{batch: {JOB}}}"
    for root, owner, pool in ((None, None, None), ("dags", None, "dags"), (".", "outside", "dags")):
        pipeline = only(load(text, more=more, root=root and tmp_path / root))
        assert (owner, pool) == (pipeline.owner, pipeline.jobs["a"].pool)


def test_a_mistake_in_a_folders_defaults_is_told_there(load, tmp_path):
    """With the path of that file; no pipeline runs with half its defaults."""
    more = {"dags/team/defaults.yaml": "defaults:\n  retires: 2\n"}
    spec = load(f"a: {{batch: {JOB}}}", more=more)
    (error,) = spec.errors
    assert (f"{tmp_path}/dags/team/defaults.yaml:2:3", "did you mean `retries`?") == (error.where, error.hint)
    assert ({}, ["a"]) == (spec.pipelines, spec.names)
    assert {} == load(f"a: {{batch: {JOB}}}", only="a").pipelines


def test_a_wrong_value_of_a_folders_defaults_is_told_there(load, tmp_path):
    """The place is where it was written, not where it was merged."""
    more = {"dags/team/defaults.yaml": "defaults:\n  batch:\n    attempts: 11\n"}
    (error,) = load(f"a: {{batch: {JOB}}}\nb: {{batch: {JOB}}}", more=more).errors
    assert (f"{tmp_path}/dags/team/defaults.yaml:3:15", "must be at most 10, not 11") == (error.where, error.message)


def test_an_environment_lies_over_the_defaults_of_its_file(load):
    """Chosen by name; its variables too."""
    text = """
    defaults: {batch: {queue: default}, retries: 1}
    vars: {bucket: dev}
    env:
      prod: {batch: {queue: prod}, vars: {bucket: prod}}
    a: {batch: {image: 'i:1', command: 'run s3://${bucket}'}}
    """
    for environment, queue, bucket in ((None, "default", "dev"), ("prod", "prod", "prod"), ("dev", "default", "dev")):
        batch = only(load(text, environment=environment)).jobs["a"].batch
        assert (queue, f"run s3://{bucket}") == (batch.queue, batch.command)


def test_variables_keep_their_type_and_templates_are_left(load):
    """A text that is one variable alone takes its value; `$${` is `${`; `{{ }}` is Airflow's."""
    text = """
    vars: {n: 5, words: [a, b], conf: {queue: q}, name: x, nested: 'pre-${name}', flag: true}
    a:
      array: ${n}
      batch:
        image: '${nested}:1'
        queue: ${conf.queue}
        command: ['${n}', '${flag}', '$${HOME}', '$HOME', '{{ ds }}']
      inputs: ${words}
    """
    job = only(load(text)).jobs["a"]
    assert (5, "pre-x:1", "q", ["a", "b"]) == (job.array.size, job.batch.image, job.batch.queue, job.inputs)
    assert ["5", "true", "${HOME}", "$HOME", "{{ ds }}"] == job.batch.command


def test_names_are_variables(load):
    """`${pipeline}`, `${job}` and, where one is chosen, `${environment}`."""
    text = "a: {jobs: {x: {batch: {image: 'i:1', queue: q, command: '${environment} ${pipeline} ${job}'}}}}"
    assert "prod a x" == only(load(text, environment="prod")).jobs["x"].batch.command
    assert "no environment is chosen, and `${environment}` is its name" == load(text).errors[0].message


def test_a_matrix_of_jobs(load):
    """One job for each combination; who comes after the name comes after all of them."""
    text = f"""
    a:
      jobs:
        train:
          matrix: {{region: [eu, us], n: [1, 2]}}
          array: ${{n}}
          batch: {{image: 'i:1', queue: '${{region}}', command: c}}
        join: {{after: {{train: finished}}, batch: {JOB}}}
        one: {{after: train_eu_2, batch: {JOB}}}
    """
    jobs = only(load(text)).jobs
    assert ["train_eu_1", "train_eu_2", "train_us_1", "train_us_2", "join", "one"] == list(jobs)
    assert [("eu", 1), ("eu", 2), ("us", 1), ("us", 2)] == [
        (job.batch.queue, job.array.size) for job in list(jobs.values())[:4]
    ]
    assert dict.fromkeys(list(jobs)[:4], "finished") == jobs["join"].after
    assert {"train_eu_2": "succeeded"} == jobs["one"].after


def test_a_matrix_of_pipelines(load):
    """One pipeline for each combination; one alone is read as well."""
    text = f"a: {{matrix: {{region: [eu, us]}}, region: '${{region}}-west-1', batch: {JOB}}}\nb: {{batch: {JOB}}}"
    spec = load(text)
    assert ["a_eu", "a_us", "b"] == spec.names == list(spec.pipelines)
    assert ["eu-west-1", "us-west-1"] == [spec.pipelines[name].region for name in ("a_eu", "a_us")]
    one = load(text, only="a_us")
    assert {"a_us": spec.pipelines["a_us"]} == one.pipelines


def test_a_job_extends_another(load):
    """All of it but `after` and `matrix`, merged deeply; over several."""
    text = """
    a:
      jobs:
        x: {retries: 1, pool: p, batch: {image: 'i:1', queue: q, command: c, env: {A: x, B: x}}}
        y: {extends: x, after: x, retries: 2, batch: {env: {B: y}}}
        z: {extends: y, batch: {command: d}}
    """
    jobs = only(load(text)).jobs
    assert (2, "p", {"A": "x", "B": "y"}, {"x": "succeeded"}) == (
        jobs["y"].retries,
        jobs["y"].pool,
        jobs["y"].batch.env,
        jobs["y"].after,
    )
    assert (2, "d", {"A": "x", "B": "y"}, {}) == (
        jobs["z"].retries,
        jobs["z"].batch.command,
        jobs["z"].batch.env,
        jobs["z"].after,
    )


def test_one_broken_pipeline_hides_no_other(load):
    """Also where the mistake is one of YAML: a key twice, a tag."""
    text = f"""
    good: {{batch: {JOB}}}
    twice: {{batch: {JOB}, batch: {JOB}}}
    tag: {{batch: !x {JOB}}}
    word: {{bacth: {JOB}}}
    """
    spec = load(text)
    assert ["good"] == list(spec.pipelines)
    assert ["good", "twice", "tag", "word"] == spec.names
    assert ["twice", "tag", "word"] == [error.pipeline for error in spec.errors]


def test_one_pipeline_asked_for_is_read_alone(load):
    """Nothing is told of the others; line numbers are those of the file; the defaults count."""
    text = f"""\
    # a comment
    broken: {{bacth: {JOB}}}
    defaults: {{retries: 7}}

    good:
      batch: {JOB}
    bad:
      batch: {{image: 'i:1', queue: q, command: c, atempts: 5}}
    """
    good = load(text, only="good")
    assert ([], 7, ["broken", "good", "bad"]) == (good.errors, only(good).jobs["good"].retries, good.names)
    bad = load(text, only="bad")
    assert {} == bad.pipelines
    assert [(8, 47)] == [(error.line, error.column) for error in bad.errors if error.pipeline == "bad"]
    nothing = load(text, only="nowhere")
    assert ([], {}) == (nothing.errors, nothing.pipelines)


@pytest.mark.parametrize(
    "text",
    [
        f"base: &base {{batch: {JOB}}}\nx: *base\n",
        f"{{x: {{batch: {JOB}}}, y: {{batch: {JOB}}}}}",
        f"'x': {{batch: {JOB}}}\n",
        f"---\nx: {{batch: {JOB}}}\n",
        f"? x\n: {{batch: {JOB}}}\n",
        f"y:\n  description: 'one\nx: two'\n  batch: {JOB}\nx: {{batch: {JOB}}}\n",
        f"x: {{batch: {JOB},\nretries: 3}}\n",
        f"x :\n  batch: {JOB}\n",
        f"\ufeffx: {{batch: {JOB}}}\n",
        f"y:\r\n  batch: {JOB}\r\nx:\r\n  batch: {JOB}\r\n",
    ],
    ids=["anchor", "flow", "quotes", "document", "complex", "quoted lines", "open", "space", "mark", "windows"],
)
def test_one_pipeline_is_read_out_of_any_layout(load, text):
    """The fast way gives what the whole file gives, or is not taken."""
    assert load(text).pipelines.get("x") == load(text, only="x").pipelines.get("x")
    assert ["x"] == list(load(text, only="x").pipelines)


def test_one_pipeline_is_cut_out_of_a_file_that_begins_with_a_document_mark():
    """Many editors put `---` first: the others are not parsed for it."""
    assert "\n\ny: 2\n" == extract_entries("--- # ours\nx: 1\ny: 2\n", ["y"])
    assert None is extract_entries("---\nx: 1\n---\ny: 2\n", ["y"])


def test_the_source_of_a_pipeline_is_its_text(load):
    """For the Dag's doc page; of a matrix, the text that all of them come from."""
    text = f"a: {{batch: {JOB}}}\n# about b\nb:\n  matrix: {{x: [1, 2]}}\n  batch: {JOB}\n"
    spec = load(text)
    assert f"a: {{batch: {JOB}}}\n# about b\n" == spec.source("a")
    assert f"b:\n  matrix: {{x: [1, 2]}}\n  batch: {JOB}\n" == spec.source("b_1") == spec.source("b_2")


def test_many_aliases_of_something_large_are_refused(load):
    """Small on disk, large when written out: refused before it is."""
    text = "vars:\n  a: &a [" + ", ".join(["x"] * 2000) + "]\n  b: [" + ", ".join(["*a"] * 2000) + "]\n"
    assert "more than 2,000,000" in load(text).errors[0].message


def test_two_loads_are_equal(load):
    """Nothing depends on order of hashing or on time."""
    text = f"a: {{matrix: {{x: [1, 2]}}, batch: {JOB}}}"
    assert [repr(load(text).pipelines)] * 2 == [repr(load(text).pipelines) for _ in range(2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "defaults: {batch: {submit: {x: [" + "1, " * 5000 + "1]}}}\na:\n  jobs:\n"
            + "".join(f"    j{n}: {{batch: {JOB}}}\n" for n in range(1100)),
            "with its defaults and variables written out the file has more than 5,000,000 values",
        ),
        (
            "vars: {x: [" + "1, " * 5000 + "1]}\na:\n  jobs:\n"
            + "".join(f"    j{n}: {{inputs: '${{x}}', batch: {JOB}}}\n" for n in range(1100)),
            "with its defaults and variables written out the file has more than 5,000,000 values",
        ),
        (
            "a:\n  jobs:\n    x:\n      batch: {image: 'i:1', queue: q, command: [" + "1, " * 5000 + "1]}\n"
            + "".join(f"    j{n}: {{extends: x, batch: {{command: c}}}}\n" for n in range(1100)),
            "with its defaults and variables written out the file has more than 5,000,000 values",
        ),
        (
            "a:\n  jobs:\n"
            + "".join(f"    j{n}: {{matrix: {{x: {list(range(999))}}}, batch: {JOB}}}\n" for n in range(6)),
            "a pipeline has at most 5,000 jobs",
        ),
        (
            f"a:\n  matrix: {{x: {list(range(50))}}}\n  jobs:\n"
            + "".join(f"    j{n}: {{matrix: {{x: {list(range(600))}}}, batch: {JOB}}}\n" for n in range(2)),
            "a file has at most 50,000 jobs",
        ),
    ],
    ids=["defaults", "variables", "extends", "matrix", "matrix of matrix"],
)  # fmt: skip
def test_a_small_file_cannot_grow_without_bound(load, text, message):
    """Defaults, variables, extends and matrices multiply; what they come to is counted before it is made."""
    errors = [error for error in load(text).errors if error.message == message]
    assert errors
    assert all(error.line is not None for error in errors)
