"""`make audit`: looks for known vulnerabilities in the packages of the default install.

It fails if it finds one. If pypi.org cannot be reached, it says so and does not fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
FILES = ("requirements.txt", "requirements-sdk.txt", "requirements-openvino.txt")


def main() -> int:
    command = [str(BIN / "pip-audit"), "--format", "json", "--progress-spinner", "off"]
    command += ["--require-hashes", "--disable-pip", "--timeout", "10"]
    for file in FILES:
        command += ["-r", file]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        packages: list[dict[str, Any]] = json.loads(run.stdout)["dependencies"]
    except ValueError:
        reason = (run.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        print(f"audit: NOT DONE, pip-audit failed: {reason}")
        return 0
    found = [(package, each) for package in packages for each in package.get("vulns", ())]
    for package, each in found:
        fixed = ", ".join(each["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {each['id']}, fixed in {fixed}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    asked = len(packages) - len(skipped)
    if skipped:
        print(f"audit: NOT DONE for {len(skipped)} packages: pypi.org does not answer from here")
    print(f"audit: {asked} packages asked for, {len(found)} vulnerabilities known")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
