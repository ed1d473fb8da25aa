"""`load_file`: defaults, folders, environments, variables, `matrix`, `extends` and `only`."""

from __future__ import annotations

import textwrap

import pytest

from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.extract import extract_entries

JOB = "{image: 'i:1', queue: q, command: c}"


@pytest.fixture
def load(tmp_path):
    """`load(text, more={name: text})` writes the files and loads the first one."""

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
    """The pipeline of a file that has one pipeline and no errors."""
    assert [] == [str(error) for error in spec.errors]
    (pipeline,) = spec.pipelines.values()
    return pipeline


def test_a_single_job_pipeline_has_one_job_of_the_same_name(load):
    """Keys of both belong to the pipeline, except for `deadline`."""
    pipeline = only(load(f"a: {{schedule: '@daily', description: x, deadline: 2h, retries: 3, batch: {JOB}}}"))
    assert ("a", "@daily", "x", 7200) == (
        pipeline.name,
        pipeline.schedule.cron,
        pipeline.description,
        pipeline.deadline,
    )
    (job,) = pipeline.jobs.values()
    assert ("a", 3, None, 7200) == (job.name, job.retries, job.description, job.deadline)


def test_an_unlimited_ulimit_is_minus_one(load):
    """Alone, and as one of both limits."""
    limits = "{memlock: -1, nofile: {soft: 1024, hard: -1}}"
    pipeline = only(load(f"a: {{batch: {{image: 'i:1', queue: q, command: c, ulimits: {limits}}}}}"))
    assert [("memlock", -1, -1), ("nofile", 1024, -1)] == [
        (limit.name, limit.softLimit, limit.hardLimit) for limit in pipeline.jobs["a"].batch.ulimits
    ]


def test_a_bootstrap_action_may_be_a_script_on_the_machines(load):
    """EMR's own scripts are under `file:/usr/share/aws/emr/`."""
    pipeline = only(
        load("""
        a:
          emr: {type: m5.xlarge, log_uri: s3://logs/, bootstrap: ['file:/usr/share/aws/emr/x.sh', 's3://code/y.sh']}
          steps: [hostname]
    """)
    )
    assert ["file:/usr/share/aws/emr/x.sh", "s3://code/y.sh"] == [one.path for one in pipeline.jobs["a"].emr.bootstrap]


def test_a_file_in_dag_factorys_form_hides_no_other_pipeline(load):
    """Only the Dags in that form are left out, with one error."""
    spec = load("""
        theirs: {default_args: {owner: a}, tasks: {t: {operator: a.B}}}
        also_theirs: {tasks: {t: {operator: a.B}}}
        default: {batch: {image: 'i:1', queue: q, command: c}}
    """)
    assert ["default"] == list(spec.pipelines)
    assert ["theirs"] == [error.pipeline for error in spec.errors]


def test_valid_templates_are_accepted(load):
    """Statements, filters of Airflow and of Jinja, `do`, and a comment; keys of mappings are not rendered."""
    only(
        load("""
        a:
          batch:
            image: 'i:1'
            queue: q
            command: [run, '{% if x %}a{% endif %}', '{{ ds | ds_nodash | int }}', '{% do x.append(1) %}', '{# c #}']
            env: {BRACES: '{ ds }}', LITERAL: "{{ '{{' }}"}
    """)
    )


def test_a_template_that_is_nested_too_deeply_is_an_error(load):
    """Loading a file never raises."""
    spec = load("a: {batch: {image: 'i:1', queue: q, command: c, env: {A: '{{ " + "(" * 2_000 + " }}'}}}")
    assert ["Airflow cannot render this template: it is nested too deeply"] == [error.message for error in spec.errors]


def test_jobs_inherit_from_the_pipeline(load):
    """`aws_conn_id`, `region` and `skip_if_succeeded`."""
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


def test_defaults_are_merged_deeply(load):
    """The job overrides the pipeline's defaults, which override the file's; only mappings are merged."""
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


def test_a_default_block_only_applies_to_jobs_with_that_block(load):
    """A job without `batch` does not get one; a reference to a shared or existing cluster gets no cluster defaults."""
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


def test_defaults_of_inner_folders_override_those_of_outer_folders(load):
    """Each `defaults.yaml` from the root folder down to the file's, then the file."""
    more = {
        ".airflowignore": "",
        "defaults.yaml": "defaults: {retries: 1, owner: top, pool: top}",
        "dags/team/defaults.yaml": "defaults: {retries: 2, owner: team, batch: {queue: team}}",
    }
    pipeline = only(load("defaults: {retries: 3}\na: {batch: {image: 'i:1', command: c}}", more=more))
    job = pipeline.jobs["a"]
    assert ("team", 3, "top", "team") == (pipeline.owner, job.retries, job.pool, job.batch.queue)


def test_folders_above_the_root_are_ignored(load, tmp_path):
    """Without a root marker, only the file's own folder applies; with `root`, all folders up to it."""
    more = {"defaults.yaml": "defaults: {owner: outside}", "dags/defaults.yaml": "defaults: {pool: dags}"}
    text = f"a: {{batch: {JOB}}}"
    for root, owner, pool in ((None, None, None), ("dags", None, "dags"), (".", "outside", "dags")):
        pipeline = only(load(text, more=more, root=root and tmp_path / root))
        assert (owner, pool) == (pipeline.owner, pipeline.jobs["a"].pool)


def test_an_error_in_a_folders_defaults_prevents_loading(load, tmp_path):
    """It is reported with the path of `defaults.yaml`; no pipeline is loaded with incomplete defaults."""
    more = {"dags/team/defaults.yaml": "defaults:\n  retires: 2\n"}
    spec = load(f"a: {{batch: {JOB}}}", more=more)
    (error,) = spec.errors
    assert (f"{tmp_path}/dags/team/defaults.yaml:2:3", "did you mean `retries`?") == (error.where, error.hint)
    assert ({}, ["a"]) == (spec.pipelines, spec.names)
    assert {} == load(f"a: {{batch: {JOB}}}", only="a").pipelines


def test_an_invalid_value_in_a_folders_defaults_is_reported_there(load, tmp_path):
    """Not in the files that inherit it."""
    more = {"dags/team/defaults.yaml": "defaults:\n  batch:\n    attempts: 11\n"}
    (error,) = load(f"a: {{batch: {JOB}}}\nb: {{batch: {JOB}}}", more=more).errors
    assert (f"{tmp_path}/dags/team/defaults.yaml:3:15", "must be at most 10, not 11") == (error.where, error.message)


def test_an_environment_overrides_the_defaults_of_its_file(load):
    """Selected by name; its variables override those of the file too."""
    text = """
    defaults: {batch: {queue: default}, retries: 1}
    vars: {bucket: dev}
    env:
      prod: {batch: {queue: prod}, vars: {bucket: prod}}
    a: {batch: {image: 'i:1', command: 'run s3://${bucket}'}}
    """
    for environment, queue, bucket in ((None, "default", "dev"), ("prod", "prod", "prod"), ("dev", "default", "dev")):
        batch = only(load(text, environment=environment)).jobs["a"].batch
        assert (queue, ["run", f"s3://{bucket}"]) == (batch.queue, batch.command)


def test_variables_keep_their_type_and_templates_are_unchanged(load):
    """Text that consists of one variable takes its type; `$${` becomes `${`; `{{ }}` is left to Airflow."""
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


def test_names_are_predefined_variables(load):
    """`${pipeline}`, `${job}` and, if one is selected, `${environment}`."""
    text = "a: {jobs: {x: {batch: {image: 'i:1', queue: q, command: '${environment} ${pipeline} ${job}'}}}}"
    assert ["prod", "a", "x"] == only(load(text, environment="prod")).jobs["x"].batch.command
    assert "`${environment}` is undefined because no environment is selected" == load(text).errors[0].message


def test_a_matrix_of_jobs(load):
    """One job per combination; `after` with the job's name refers to all of them."""
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
    """One pipeline per combination; `only` can select one of them."""
    text = f"a: {{matrix: {{region: [eu, us]}}, region: '${{region}}-west-1', batch: {JOB}}}\nb: {{batch: {JOB}}}"
    spec = load(text)
    assert ["a_eu", "a_us", "b"] == spec.names == list(spec.pipelines)
    assert ["eu-west-1", "us-west-1"] == [spec.pipelines[name].region for name in ("a_eu", "a_us")]
    one = load(text, only="a_us")
    assert {"a_us": spec.pipelines["a_us"]} == one.pipelines


def test_a_job_extends_another(load):
    """Everything except `after` and `matrix` is merged deeply, over several levels."""
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
    assert (2, ["d"], {"A": "x", "B": "y"}, {}) == (
        jobs["z"].retries,
        jobs["z"].batch.command,
        jobs["z"].batch.env,
        jobs["z"].after,
    )


def test_an_invalid_pipeline_does_not_affect_others(load):
    """Including YAML errors within a pipeline: duplicate keys, tags."""
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


def test_only_reports_no_errors_of_other_pipelines(load):
    """Line numbers are those of the file, and the defaults apply."""
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
def test_only_supports_any_yaml_style(load, text):
    """The result is the same as for the whole file."""
    assert load(text).pipelines.get("x") == load(text, only="x").pipelines.get("x")
    assert ["x"] == list(load(text, only="x").pipelines)


def test_a_pipeline_is_extracted_from_a_file_that_starts_with_a_document_marker():
    """`---` at the top does not require a full parse."""
    assert "\n\ny: 2\n" == extract_entries("--- # ours\nx: 1\ny: 2\n", ["y"])
    assert None is extract_entries("---\nx: 1\n---\ny: 2\n", ["y"])


def test_source_returns_the_text_of_a_pipeline(load):
    """For a pipeline created by a matrix, the text of the entry with the matrix."""
    text = f"a: {{batch: {JOB}}}\n# about b\nb:\n  matrix: {{x: [1, 2]}}\n  batch: {JOB}\n"
    spec = load(text)
    assert f"a: {{batch: {JOB}}}\n# about b\n" == spec.source("a")
    assert f"b:\n  matrix: {{x: [1, 2]}}\n  batch: {JOB}\n" == spec.source("b_1") == spec.source("b_2")


def test_aliases_cannot_expand_a_file_without_limit(load):
    """The size is checked before the aliases are expanded."""
    text = "vars:\n  a: &a [" + ", ".join(["x"] * 2000) + "]\n  b: [" + ", ".join(["*a"] * 2000) + "]\n"
    assert "the limit is 2,000,000" in load(text).errors[0].message


def test_loading_is_deterministic(load):
    """The result does not depend on hash order or time."""
    text = f"a: {{matrix: {{x: [1, 2]}}, batch: {JOB}}}"
    assert [repr(load(text).pipelines)] * 2 == [repr(load(text).pipelines) for _ in range(2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "defaults: {batch: {submit: {x: [" + "1, " * 5000 + "1]}}}\na:\n  jobs:\n"
            + "".join(f"    j{n}: {{batch: {JOB}}}\n" for n in range(1100)),
            "the file expands to more than 5,000,000 values with its defaults and variables",
        ),
        (
            "vars: {x: [" + "1, " * 5000 + "1]}\na:\n  jobs:\n"
            + "".join(f"    j{n}: {{inputs: '${{x}}', batch: {JOB}}}\n" for n in range(1100)),
            "the file expands to more than 5,000,000 values with its defaults and variables",
        ),
        (
            "a:\n  jobs:\n    x:\n      batch: {image: 'i:1', queue: q, command: [" + "1, " * 5000 + "1]}\n"
            + "".join(f"    j{n}: {{extends: x, batch: {{command: c}}}}\n" for n in range(1100)),
            "the file expands to more than 5,000,000 values with its defaults and variables",
        ),
        (
            "a:\n  jobs:\n"
            + "".join(f"    j{n}: {{matrix: {{x: {list(range(999))}}}, batch: {JOB}}}\n" for n in range(6)),
            "a pipeline can have at most 5,000 jobs",
        ),
        (
            f"a:\n  matrix: {{x: {list(range(50))}}}\n  jobs:\n"
            + "".join(f"    j{n}: {{matrix: {{x: {list(range(600))}}}, batch: {JOB}}}\n" for n in range(2)),
            "a file can have at most 50,000 jobs",
        ),
    ],
    ids=["defaults", "variables", "extends", "matrix", "matrix of matrix"],
)  # fmt: skip
def test_expansion_is_limited(load, text, message):
    """Of defaults, variables, `extends` and matrices; the size is checked before the values are copied."""
    errors = [error for error in load(text).errors if error.message == message]
    assert errors
    assert all(error.line is not None for error in errors)


def many(count, value):
    return ", ".join(f"variable_{number}: '{value}'" for number in range(count))


@pytest.mark.parametrize(
    "options",
    [
        f"image: 'i:1', command: c, env: {{{many(180, 'x')}}}",
        (
            f"image: 'i:1', command: c, tags: {{{many(44, 1)}}}, job_definition: {{tags: {{a: b, c: d}}}}, "
            "submit: {propagateTags: false}"
        ),
        "definition: '{{ params.d }}'",
        "image: 'i:1', command: c, vcpus: 0.5, job_definition: {platformCapabilities: ['{{ params.p }}']}",
        "definition: '{{ params.d }}', vcpus: 0.25, container: main",
    ],
    ids=[
        "8,192 bytes without spaces",
        "tags that are not propagated",
        "no command",
        "template of the platform",
        "of unknown platform",
    ],
)
def test_what_aws_may_accept_is_valid(tmp_path, options):
    """The limits apply to what is sent; what a job definition of a template contains is not known."""
    path = tmp_path / "p.yaml"
    path.write_text(f"p:\n  batch: {{queue: q, {options}}}\n")
    assert [] == [str(error) for error in load_file(path).errors]
