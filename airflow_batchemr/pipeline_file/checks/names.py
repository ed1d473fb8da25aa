"""Names of pipelines, jobs and clusters, which are used for Dags, tasks, Batch jobs and EMR clusters."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.validation import Keys

#: Maximum length of a job name (AWS Batch, SubmitJob).
MAX_NAME = 128


def name(name: str, what: str, keys: Keys) -> Iterator[Problem]:
    """AWS Batch allows up to 128 letters, digits, `-` and `_`; Airflow allows more."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    fixed = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-")[:MAX_NAME] or what
    hint = f"rename it to `{fixed}`"
    if not name:
        yield Problem(keys, f"the {what}'s name is empty", key=True)
    elif len(name) > MAX_NAME:
        message = f"the {what}'s name has {len(name)} characters; the limit is {MAX_NAME}"
        yield Problem(keys, message, hint, key=True)
    elif not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        yield Problem(keys, f"a name may contain letters, digits, - and _, not `{name}`", hint, key=True)
    elif not name[0].isalnum():
        yield Problem(keys, f"a name must start with a letter or digit, not `{name}`", hint, key=True)
