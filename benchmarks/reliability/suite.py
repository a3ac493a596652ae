"""Tests run in processes of their own, on a copy of the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

SECONDS = 300.0  # of a run; tests that hang have failed
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Suite:
    """Runs tests of the project in a folder, and of no other."""

    def __init__(self, folder: Path):
        self.folder = folder
        paths = os.pathsep.join([f"{folder}/.links", str(folder)])
        own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment = {**os.environ, **own}

    def failures(self, words: list[str]) -> list[str]:
        """Run pytest with these words; return the names of the tests that failed, or "hung" or "crashed"."""
        command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *words]
        try:
            run = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return ["hung"]
        failed = FAILED.findall(run.stdout)
        return failed or ([] if run.returncode == 0 else ["crashed"])

    def outcome(self, files: list[str]) -> str:
        """Run test files until a test fails; return "passed", "failed: TEST", "hung" or "crashed"."""
        failed = self.failures(["-x", *files])
        if not failed:
            return "passed"
        return failed[0] if failed[0] in ("hung", "crashed") else f"failed: {failed[0]}"
