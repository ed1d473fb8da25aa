"""Release labels and their application versions, as documented by AWS."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["RELEASES", "applications"]


def _read() -> dict[str, dict[str, str]]:
    with Path(__file__).with_name("releases.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return {row.pop("release"): {name: version for name, version in row.items() if version} for row in rows}


#: Versions by application and release, newest release first; "yes" if this package has no record of the version.
#: Source: "Application versions in Amazon EMR 4.x, 5.x, 6.x and 7.x releases" in the EMR release guide.
RELEASES = _read()


def applications(label: str, names: list[str] | None = None) -> list[dict[str, str]]:
    """Return applications of a release in the form of the API: those of the given names, or all."""
    versions = {name.lower(): (name, version) for name, version in RELEASES[label].items()}
    found = versions.values() if names is None else [versions[name.lower()] for name in names]
    return [{"Name": name, **({} if version == "yes" else {"Version": version})} for name, version in found]
