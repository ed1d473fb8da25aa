"""The lock files, and the check of their packages for known vulnerabilities."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_has_a_version_and_hashes(lock: Path) -> None:
    """And no address of an index, so that any index can serve it."""
    text = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.startswith("#"))
    packages = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    hashed = re.compile(r"[a-z0-9.-]+==[^ ;]+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert [] == [package for package in packages if not hashed.fullmatch(package)]


def test_every_installation_requires_hashes() -> None:
    """Except that of this folder; and no build downloads packages that no lock file has."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    installs = [line for line in lines if "pip install" in line or "call INSTALL," in line]
    assert 7 == len(installs)
    for line in installs:
        assert "$(LOCKED)" in line or "--editable ." in line or "--no-build-isolation $(1)" in line, line
    assert "LOCKED := --require-hashes --requirement" in lines


def test_another_uv_is_replaced_before_it_is_used(tmp_path: Path) -> None:
    """Such as one that an earlier version has installed without a version and hashes."""
    for name in ("Makefile", "pyproject.toml", *(lock.name for lock in LOCKS)):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("pip", "uv"):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> log\n')
        program.chmod(0o755)
    subprocess.run(["make", ".venv/.ready"], cwd=tmp_path, check=True)
    calls = [line for line in (tmp_path / "log").read_text().splitlines() if "--version" not in line]
    assert "pip install --quiet --require-hashes --requirement requirements-uv.lock" == calls[0]
    assert calls[1].startswith("uv pip install")


@pytest.mark.parametrize(
    ("output", "stderr", "code", "printed"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], "", 0, "1 packages checked, 0 known vulnerabilities"),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"], "description": "bad"}]}],
            "",
            1,
            "x.lock: a 1: CVE-1, fixed in 2\n  bad",
        ),
        ([{"name": "a", "skip_reason": "not found"}], "", 0, "WARNING: NO VULNERABILITY SERVICE ANSWERS"),
        (None, "requests.exceptions.ConnectionError: no route", 0, "WARNING: NO VULNERABILITY SERVICE ANSWERS"),
        (None, "error: invalid requirements", 1, "error: invalid requirements"),
    ],
    ids=["none", "found", "unknown packages", "unreachable", "other error"],
)
def test_only_a_vulnerability_fails_the_audit(
    tmp_path: Path, output: object, stderr: str, code: int, printed: str
) -> None:
    """With a program in place of pip-audit: without a service that answers, `make lint` passes, with a warning."""
    (tmp_path / "requirements-x.lock").touch()
    (tmp_path / "output").write_text("" if output is None else json.dumps({"dependencies": output}))
    (tmp_path / "stderr").write_text(stderr)
    shutil.copy(ROOT / ".ci" / "audit.py", tmp_path)
    (tmp_path / "pip-audit").write_text("#!/bin/sh\ncat output; cat stderr >&2; exit 1\n")
    (tmp_path / "pip-audit").chmod(0o755)
    program = f"import sys; sys.executable = {str(tmp_path / 'python')!r}; import audit; sys.exit(audit.main())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (code, "") == (done.returncode, done.stderr)
    assert printed in done.stdout


def test_an_unknown_package_does_not_end_the_audit(tmp_path: Path) -> None:
    """A short file may have no other package."""
    (tmp_path / "requirements-a.lock").touch()
    (tmp_path / "requirements.lock").write_text("# many packages")
    known = {"name": "b", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": [], "description": "bad"}]}
    for name, package in (("requirements-a.lock", {"name": "a", "skip_reason": "?"}), ("requirements.lock", known)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"dependencies": [package]}))
    shutil.copy(ROOT / ".ci" / "audit.py", tmp_path)
    (tmp_path / "pip-audit").write_text(
        '#!/bin/sh\nfor one; do case $one in --requirement=*) cat "${one#*=}.json";; esac; done\n'
    )
    (tmp_path / "pip-audit").chmod(0o755)
    program = f"import sys; sys.executable = {str(tmp_path / 'python')!r}; import audit; sys.exit(audit.main())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (1, "") == (done.returncode, done.stderr)
    assert "b 1: CVE-1" in done.stdout
