"""The limits of AWS on tags, and the names of this package's own tags.

Batch passes the tags of a job to ECS, and EMR those of a cluster to EC2. The characters that all of them accept are
letters, digits, spaces and ``+ - = . _ : / @`` (AWS Batch User Guide, "Tag restrictions"; EMR Management Guide, "Tag
restrictions").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TAGS = 50
"""Maximum number of tags of a job or cluster."""
MAX_KEY, MAX_VALUE = 128, 256
"""Maximum lengths in characters."""
RUN_TAGS = ("batchemr:dag_id", "batchemr:run_key", "batchemr:job", "batchemr:submission", "batchemr:state")
"""The tags that identify the run, on everything that is started."""
SHORT_NAME = 64
"""Maximum length in characters of the name of a job run on EMR on EKS, which ends like the submission's name."""
OWNER_TAG = "batchemr:owner"
"""The tag of a cluster's owner."""

_REFUSED = re.compile(r"[^\w .:/=+\-@]")
#: EMR Serverless accepts only ASCII (botocore's model of StartJobRun).
_REFUSED_SOMEWHERE = re.compile(r"[^A-Za-z0-9_ .:/=+\-@]")


def tag_value(text: str) -> str:
    """Convert a text to a value that every service accepts: other characters become underscores, at most 256."""
    return _REFUSED_SOMEWHERE.sub("_", text)[:MAX_VALUE]


def tag_problem(key: str, value: str = "") -> str | None:
    """Return what AWS rejects in a tag; None if nothing."""
    if not 1 <= len(key) <= MAX_KEY:
        return f"the name of a tag has 1 to {MAX_KEY} characters, not {len(key)}"
    if len(value) > MAX_VALUE:
        return f"the value of a tag has at most {MAX_VALUE} characters, not {len(value)}"
    for text in (key, value):
        if text.lower().startswith("aws:"):
            return f"AWS reserves tags that begin with aws: {text}"
        if refused := _REFUSED.search(text):
            return f"AWS accepts letters, digits, spaces and + - = . _ : / @ in tags, not {refused[0]!r}: {text}"
    return None


def tags_problem(tags: Mapping[str, str], others: Iterable[str] = ()) -> str | None:
    """Return what AWS rejects in the tags of a job or cluster; None if nothing.

    Args:
        tags: including those of this package.
        others: names of tags that it gets from elsewhere; they count, too.
    """
    number = len({*others, *tags})
    if number > MAX_TAGS:
        return f"AWS accepts {MAX_TAGS} tags, not {number}, including those that identify the run"
    return next(filter(None, map(tag_problem, tags, tags.values())), None)
