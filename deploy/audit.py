"""Whether a locked package has a known vulnerability: `make audit`. It reads the lock and installs nothing.

pip-audit asks its database over the network, and answers alike whether there is nothing to find or nobody to ask. Here:

- 0  every package was looked up, and none is vulnerable; or the database is out of reach, which is said
- 1  a vulnerability is known
- 69  with --strict: not every package could be looked up

PIP_AUDIT_VULNERABILITY_SERVICE and PIP_AUDIT_OSV_URL name another database.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements-local.lock"  # all that runs anywhere: requirements.lock and what `streamapp run` adds
ANSWER_S, TIMEOUT_S = 10, 120
UNREACHED = 69


def asked(lock: Path, options: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package, and its last words; nothing of packages when it had nobody to ask."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--require-hashes", "-f", "json"]
    quiet = ["--progress-spinner", "off", "--timeout", str(ANSWER_S), *options]
    try:
        done = subprocess.run([*command, *quiet], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {TIMEOUT_S} s"
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return packages, ""


def judged(packages: Sequence[dict[str, Any]], trouble: str, strict: bool) -> tuple[list[str], int]:
    """Lines for people, and the exit code. Pure."""
    looked_up = [one for one in packages if "skip_reason" not in one]
    lines = [
        f"{one['name']} {one['version']}: {', '.join((found['id'], *found.get('aliases', ())))}; fixed in "
        f"{', '.join(found.get('fix_versions', ())) or 'no version yet'}"
        for one in looked_up
        for found in one["vulns"]
    ]
    known, away = len(lines), len(packages) - len(looked_up)
    if away or not packages:
        why = trouble or next(one["skip_reason"] for one in packages if "skip_reason" in one)
        lines.append(f"NOT AUDITED: {away or 'all'} packages could not be looked up ({why})")
    lines.append(f"{len(looked_up)} packages looked up, {known} known vulnerabilities")
    return lines, 1 if known else UNREACHED if strict and (away or not packages) else 0


def main(arguments: Sequence[str]) -> int:
    """`[--strict] [LOCK] [OPTIONS OF PIP-AUDIT]`"""
    strict, rest = "--strict" in arguments, [one for one in arguments if one != "--strict"]
    lock = Path(rest.pop(0)) if rest and not rest[0].startswith("-") else LOCK
    lines, code = judged(*asked(lock, rest), strict)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
