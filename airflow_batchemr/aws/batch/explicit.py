"""`explicit_success`: exit 0 is not enough, the program itself has to write the object that it is told."""

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

#: Where the program writes; of an array it is a folder, to which the program adds its index.
SUCCESS_URI = "BATCHEMR_SUCCESS_URI"
#: What such failures are grouped by.
CAUSE = "no explicit success"


def environment(ledger: JobLedger, number: int, size: int) -> dict[str, str]:
    """The variable that tells a program where to write.

    Args:
        ledger: the job's.
        number: of the attempt: what an earlier one has written says nothing about this one.
        size: indices of the job; with more than one the URI ends with a slash, and the index comes behind it.
    """
    # Among the documents, so that a LIST of the job's records does not page through them
    folder = ledger.document_uri(f"explicit/{number:04d}/")
    return {SUCCESS_URI: f"{folder}0" if size == 1 else folder}


def confirmed(clients: Clients, submission: Submission, ended: JobEnd) -> JobEnd:
    """What of a job's successes the programs themselves have said; the rest has failed.

    Whether they had to is asked of the attempt's own request, so that whoever concludes it comes to the same result.
    One LIST a 1,000 objects.
    """
    uri = _told(submission)
    if uri is None or not ended.succeeded:
        return ended
    said = ended.succeeded & _written(clients, uri)
    container = ended.job.get("container") or {}
    silent = [
        Failure(
            index=index,
            reason=f"exit 0, but no object at {SUCCESS_URI} ({uri if uri[-1] != '/' else f'{uri}{index}'})",
            exit_code=0,
            job_id=ended.job.get("jobId"),
            log_stream=container.get("logStreamName"),
            cause=CAUSE,
        )
        for index in ended.succeeded - said
    ]
    return replace(ended, succeeded=said, failures=[*ended.failures, *silent])


def _told(submission: Submission) -> str | None:
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
