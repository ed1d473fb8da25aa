"""Names that become Dags, tasks, AWS jobs and clusters."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.validation import Keys

#: Limit of AWS Batch for a job name.
MAX_NAME = 128


def name(name: str, what: str, keys: Keys) -> Iterator[Problem]:
    """AWS Batch takes letters, digits, `-` and `_`, at most 128 (Airflow takes more)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    fixed = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-")[:MAX_NAME] or what
    hint = f"write `{fixed}`"
    if not name:
        yield Problem(keys, f"the {what}'s name is empty", key=True)
    elif len(name) > MAX_NAME:
        yield Problem(keys, f"the {what}'s name has {len(name)} characters, and AWS takes {MAX_NAME}", hint, key=True)
    elif not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        yield Problem(keys, f"AWS takes names of letters, digits, - and _, not `{name}`", hint, key=True)
    elif not name[0].isalnum():
        yield Problem(keys, f"AWS takes names that begin with a letter or digit, not `{name}`", hint, key=True)
