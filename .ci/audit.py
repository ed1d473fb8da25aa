"""Run pip-audit on the lock files: fail on a known vulnerability, but not if no vulnerability service answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Vulnerabilities that do not matter here: the id, and why.
ACCEPTED: dict[str, str] = {}


def main() -> int:
    """Return the exit code."""
    failed = False
    # The largest first: that a service knows none of many packages shows that there is none
    for lock in sorted(Path().glob("requirements*.lock"), key=lambda lock: -lock.stat().st_size):
        done = subprocess.run(_command(lock), capture_output=True, text=True, check=False)
        try:
            packages = json.loads(done.stdout)["dependencies"]
        except ValueError:
            _print(done.stderr)
            if "requests.exceptions" not in done.stderr and "ServiceError" not in done.stderr:
                return 1
            packages = []
        checked = [package for package in packages if "skip_reason" not in package]
        if not checked:
            _print(f"WARNING: NO VULNERABILITY SERVICE ANSWERS: {lock} AND LATER FILES WERE NOT CHECKED")
            break
        failed |= _report(lock, checked)
        if skipped := [package["name"] for package in packages if "skip_reason" in package]:
            _print(f"{lock}: WARNING: the vulnerability service does not know {', '.join(skipped)}")
    return int(failed)


def _command(lock: Path) -> list[str]:
    tool = Path(sys.executable).with_name("pip-audit")
    options = {"--format": "json", "--progress-spinner": "off", "--timeout": "5", "--requirement": lock}
    options["--cache-dir"] = Path(sys.prefix, "cache/audit")
    ignored = [f"--ignore-vuln={vulnerability}" for vulnerability in ACCEPTED]
    # The hashes make pip-audit take the versions of the file, without installing them
    return [str(tool), "--disable-pip", "--require-hashes", *(f"{name}={of}" for name, of in options.items()), *ignored]


def _report(lock: Path, packages: list[dict[str, Any]]) -> bool:
    """Print the vulnerabilities, and return whether there are any."""
    found = [(package, one) for package in packages for one in package["vulns"]]
    for package, one in found:
        fixed = ", ".join(one["fix_versions"]) or "no version"
        _print(f"{lock}: {package['name']} {package['version']}: {one['id']}, fixed in {fixed}\n  {one['description']}")
    _print(f"{lock}: {len(packages)} packages checked, {len(found)} known vulnerabilities")
    return bool(found)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
