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


class FirstFailure:
    """A plug-in of pytest that remembers the first test that failed."""

    name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest after each part of a test."""
        if report.failed:
            self.name = self.name or report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        """Called by pytest after it has read a file."""
        if report.failed:
            self.name = self.name or report.nodeid


def run_tests(folder: str, files: list[str], pipe: Connection) -> None:
    """Run test files in this process, on the project in `folder`, and send the name of the first that fails."""
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
    plug_in = FirstFailure()
    status = pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", *files], plugins=[plug_in])
    pipe.send("" if status == 0 else plug_in.name or f"status {status}")


class Suite:
    """Runs tests in fresh processes that have imported the libraries, and nothing of the project."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(LIBRARIES)

    def outcome(self, files: list[str]) -> str:
        """Run test files, or single tests; return "passed", "failed: TEST" or "hung"."""
        here, there = self.processes.Pipe()
        process = self.processes.Process(target=run_tests, args=(str(self.folder), files, there))
        process.start()
        there.close()
        try:
            failed = here.recv() if here.poll(SECONDS) else "hung"
        except EOFError:
            failed = "crashed"
        process.kill()
        process.join()
        return "passed" if not failed else failed if failed in ("hung", "crashed") else f"failed: {failed}"
