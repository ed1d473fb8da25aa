"""Provider metadata for Airflow (entry point `apache_airflow_provider`)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider metadata in the format of Airflow's `provider_info.schema.json`."""
    from airflow_batchemr import __version__

    integration = "AWS Batch and EMR pipelines"
    return {
        "package-name": "airflow-batchemr",
        "name": "Batch and EMR pipelines",
        "description": "AWS Batch array jobs and short-lived EMR clusters, defined in short YAML pipeline files.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": integration, "external-doc-url": "https://docs.aws.amazon.com/batch/", "tags": ["aws"]}
        ],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": ["airflow_batchemr.operators.batch", "airflow_batchemr.operators.emr"],
            }
        ],
        "extra-links": [
            "airflow_batchemr.links.batch.BatchJobLink",
            "airflow_batchemr.links.batch.BatchQueueLink",
            "airflow_batchemr.links.batch.FailedIndexLogLink",
            "airflow_batchemr.links.emr.EmrClusterLink",
            "airflow_batchemr.links.emr.EmrLogsLink",
            "airflow_batchemr.links.history.HistoryLink",
            "airflow_batchemr.links.ledger.LedgerLink",
        ],
        "sensors": [{"integration-name": integration, "python-modules": ["airflow_batchemr.sensors.marker"]}],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_batchemr.triggers.batch",
                    "airflow_batchemr.triggers.emr",
                    "airflow_batchemr.triggers.emr_job_run",
                    "airflow_batchemr.triggers.emr_logs",
                    "airflow_batchemr.triggers.marker",
                    "airflow_batchemr.triggers.outage",
                ],
            }
        ],
        "notifications": ["airflow_batchemr.notifiers.pipeline.PipelineNotifier"],
        "cli": ["airflow_batchemr.cli.airflow_command.get_cli_commands"],
        "config": {
            "batchemr": {
                "description": "Settings for AWS Batch and EMR pipelines.",
                "options": {
                    "state": {
                        "description": "S3 URI of the ledger, which records what ran and what has succeeded. Used by "
                        "pipelines whose file does not set `state`.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://data/_batchemr",
                        "default": None,
                    },
                    "environment": {
                        "description": "The `env` block of pipeline files to apply, such as prod or dev.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "prod",
                        "default": None,
                    },
                    "policy": {
                        "description": "Dotted path of a function that is called with each pipeline before its Dag is "
                        "built. It returns the pipeline or a modified copy, or raises "
                        "airflow_batchemr.pipeline_file.PipelineFileError.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "our_company.policies.pipeline",
                        "default": None,
                    },
                    "s3_put_args": {
                        "description": "Arguments of every PutObject below the state URI, as a JSON object, for "
                        "buckets that require encryption, an ACL or a known owner: ServerSideEncryption, SSEKMSKeyId, "
                        "SSEKMSEncryptionContext, BucketKeyEnabled, ACL, GrantFullControl, GrantRead, GrantReadACP, "
                        "GrantWriteACP, ExpectedBucketOwner (also of reads), StorageClass, Tagging.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": '{"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/data"}',
                        "default": None,
                    },
                    **_times(),
                },
            }
        },
    }


def _times() -> dict[str, Any]:
    """Poll intervals, grace periods and limits of the engine."""
    from airflow_batchemr.engine.policy import Policy

    return {
        field.name: {
            "description": f"{field.metadata['description']} In seconds.",
            "version_added": "0.1.0",
            "type": "float",
            "example": None,
            "default": f"{field.default:g}",
        }
        for field in fields(Policy)
        if "description" in field.metadata
    }
