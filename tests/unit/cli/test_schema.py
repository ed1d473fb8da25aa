"""`batchemr schema`: accepts what the loader accepts, and rejects what it rejects."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.schema import app
from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.reader import read

ROOT = Path(__file__).parents[3]
CORPUS = sorted((ROOT / "tests/corpus").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "dags_examples").rglob("*.yaml")) + sorted(
    (ROOT / "tests/unit/pipeline_file/valid").glob("*.yaml")
)

#: Errors that a schema cannot express: references to other parts, values from defaults, AWS's rules, calendars.
ONLY_LOADER_REJECTS = """
after_another_pipeline after_beside_flat after_cycle after_index_no_array after_index_sizes after_index_unknown_size
after_itself after_unknown after_unknown_in_list array_pack_without_limit array_two_stars aws_raw_limits
batch_beside_a_cluster_name catchup_without_start_date command_empty_argument command_missing container_names
container_unknown
emr_application emr_applications_without_hive emr_applications_without_spark emr_bid_without_spot emr_bootstrap_name
emr_cluster_id emr_cluster_named_like_job emr_cluster_of_cluster emr_cluster_undeclared emr_docker_of_old_release
emr_ebs_io1 emr_ebs_limits emr_ebs_throughput emr_fleet_masters emr_fleet_no_target emr_fleet_type_twice emr_fleet_types
emr_idle_timeout emr_keep_alive_of_old_release emr_masters_no_core emr_no_core emr_no_instances emr_no_master
emr_old_release emr_on_failure_concurrent emr_scaling emr_scaling_core emr_scaling_no_core emr_step_args_without_jar
emr_step_long emr_terminate_shared emr_two_masters emr_type_missing end_before_start explicit_success_of_steps
extends_circle extends_unknown fargate_capability fargate_gpus fargate_host fargate_memory fargate_memory_of_list
fargate_vcpus fargate_without_role image_missing job_definition_two_kinds matrix_name_of_another_job
matrix_name_of_another_pipeline matrix_same_names matrix_too_many max_retry_delay memory_decimal memory_shrinks
memory_too_small notify_address notify_no_receiver on_eks_deploy_mode on_eks_driver on_serverless_arguments
on_serverless_environment on_serverless_image on_serverless_with_cluster operator_path overlap_and_runs
overrides_too_large param_bounds params_default_above_maximum params_default_is_no_date params_default_of_pattern
params_enum params_items params_null_default params_pattern params_type params_without_default queue_missing
retry_on_one_attempt retry_on_twice schedule_every_zero schedule_hour_25 schedule_with_alone secrets_without_role
security_groups_two several_pipelines_broken spark_env_on_existing_cluster spark_nothing spark_packed_env_client
spark_without_cluster start_date_no_such_day tags_too_many template_filters template_in_text_command
template_of_clusters template_of_defaults template_of_steps template_open template_shell_length timeout_short
timezone_unknown ulimit_order variable_bomb variable_circle variable_in_template variable_list_in_text variable_open
variable_shell variable_unknown variable_wrong_type vcpus_fraction vcpus_fraction_on_ec2 with_alone
"""


def is_plain(path: Path) -> bool:
    """Whether the file is valid YAML; schemas do not apply to invalid YAML."""
    return not read(path, path.read_text()).errors


@pytest.fixture(scope="module")
def validator():
    """A validator for the schema that the command prints."""
    result = CliRunner().invoke(app, [])
    assert 0 == result.exit_code
    schema = json.loads(result.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_accepted(validator, path):
    """By the loader and by the schema."""
    assert [] == load_file(path).errors
    assert [] == [
        (list(error.path), error.message) for error in validator.iter_errors(read(path, path.read_text()).value)
    ]


@pytest.mark.parametrize("path", [path for path in CORPUS if is_plain(path)], ids=lambda path: path.stem)
def test_the_schema_rejects_what_the_loader_rejects(validator, path):
    """Except for the listed files; files with only warnings are accepted."""
    document = read(path, path.read_text())
    rejected = bool(load_file(path).errors)
    assert (rejected and path.stem not in ONLY_LOADER_REJECTS.split()) == (not validator.is_valid(document.value))


def test_every_key_has_a_description(validator):
    """Editors show it for each key of a pipeline, a job and their blocks."""
    undocumented = [
        f"{name}.{key}"
        for name, part in validator.schema["$defs"].items()
        for key, schema in part.get("properties", {}).items()
        if "description" not in schema
    ]
    assert [] == undocumented
