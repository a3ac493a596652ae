"""Tests run in fresh processes that have imported the libraries; this file imports nothing of the project."""

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

SECONDS = 300.0  # of a run; tests that hang have failed
LIBRARIES = [
    *(
        "gymnasium",
        "jsonargparse",
        "matplotlib.pyplot",
        "numba",
        "PIL.Image",
        "pytest",
        "safetensors.torch",
        "scipy.stats",
    ),
    *("stable_baselines3", "tifffile", "torch", "torch.utils.tensorboard", "tqdm"),
]


class Failures:
    """A plug-in of pytest that remembers which tests failed, and which files could not be read."""

    def __init__(self):
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest after each part of a test."""
        if report.failed:
            self.names.append(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        """Called by pytest after it has read a file."""
        if report.failed:
            self.names.append(report.nodeid)


def run_tests(folder: str, words: list[str], pipe: Connection) -> None:
    """Run pytest in this process, on the project in `folder`, and send the names of what failed."""
    paths = [f"{folder}/.links", folder]
    os.chdir(folder)
    sys.path[:0] = paths
    for name in ("benchmarks", "benchmarks.reliability"):
        del sys.modules[name]
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with open(f"{folder}/tests.log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    plug_in = Failures()
    status = pytest.main(["-q", "--tb=line", "-p", "no:cacheprovider", *words], plugins=[plug_in])
    pipe.send(plug_in.names if status in (0, 1) or plug_in.names else [f"status {status}"])


class Suite:
    """Runs tests in fresh processes that have imported the libraries, and nothing of the project."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(LIBRARIES)

    def failures(self, words: list[str]) -> list[str]:
        """Run pytest with these words; return the names of the tests that failed, or "hung" or "crashed"."""
        here, there = self.processes.Pipe()
        process = self.processes.Process(target=run_tests, args=(str(self.folder), words, there))
        process.start()
        there.close()
        try:
            failed = here.recv() if here.poll(SECONDS) else ["hung"]
        except EOFError:
            failed = ["crashed"]
        process.kill()
        process.join()
        return failed

    def outcome(self, files: list[str]) -> str:
        """Run test files until a test fails; return "passed", "failed: TEST", "hung" or "crashed"."""
        failed = self.failures(["-x", *files])
        if not failed:
            return "passed"
        return failed[0] if failed[0] in ("hung", "crashed") else f"failed: {failed[0]}"
