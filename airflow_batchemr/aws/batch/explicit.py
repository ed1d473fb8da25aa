"""`explicit_success`: exit code 0 is not enough, the program also has to write an object at a given URI."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core.container_overrides import recorded
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.records import Failure

if TYPE_CHECKING:
    from airflow_batchemr.aws.batch.results import JobEnd
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger, Submission

#: Variable with the URI to write; for an array it is a folder, to which the program appends its index.
SUCCESS_URI = "BATCHEMR_SUCCESS_URI"
#: `Failure.cause` of such failures.
CAUSE = "no explicit success"


def environment(ledger: JobLedger, number: int, size: int) -> dict[str, str]:
    """The environment variable with the URI to write.

    Args:
        ledger: the job's.
        number: of the submission: objects of earlier ones do not count for this one.
        size: indices of the job; with more than one the URI ends with a slash, and the program appends the index.
    """
    # Among the documents, so that a LIST of the job's records does not page through them
    folder = ledger.document_uri(f"explicit/{number:04d}/")
    return {SUCCESS_URI: f"{folder}0" if size == 1 else folder}


def confirmed(clients: Clients, submission: Submission, ended: JobEnd) -> JobEnd:
    """Keep only the successes of a job that its programs have confirmed; the rest has failed.

    Whether confirmation is required is read from the submission's own request, so that every try concludes the same.
    One LIST per 1,000 objects.
    """
    uri = _requested_uri(submission)
    if uri is None or not ended.succeeded:
        return ended
    written = ended.succeeded & _written(clients, uri)
    container = ended.job.get("container") or {}
    unconfirmed = [
        Failure(
            index=index,
            reason=f"exit 0, but no object at {SUCCESS_URI} ({uri if uri[-1] != '/' else f'{uri}{index}'})",
            exit_code=0,
            job_id=ended.job.get("jobId"),
            log_stream=container.get("logStreamName"),
            cause=CAUSE,
        )
        for index in ended.succeeded - written
    ]
    return replace(ended, succeeded=written, failures=[*ended.failures, *unconfirmed])


def _requested_uri(submission: Submission) -> str | None:
    if submission.intent is None or not submission.intent.requests:
        return None
    variables = recorded(submission.intent.requests[0].request).get("environment", [])
    return next((str(one["value"]) for one in variables if one["name"] == SUCCESS_URI), None)


def _written(clients: Clients, uri: str) -> IndexSet:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    prefix = key[: key.rindex("/") + 1]

    def names() -> list[str]:
        pages = clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"].removeprefix(prefix) for page in pages for found in page.get("Contents", [])]

    found = call_again(names, "s3:ListBucket")
    return IndexSet.of(int(name) for name in found if name.isdecimal() and name.isascii())
