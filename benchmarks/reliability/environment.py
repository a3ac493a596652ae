"""Faults of the machine: a full disk, folders that are read-only or vanish, closed pipes, no home.

Each case runs the command line in a process of its own, over an old run. It passes if there is one error of one line,
or none where the fault is survived, and the old files are whole.
"""

import contextlib
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.command_line import words_of
from benchmarks.files import ROOT
from foveal_env import checkpoint

SECONDS = 180.0  # of a process
EVERY = 0.3  # s between checkpoints
DRIVER = (
    "import sys; from foveal_agents import commands, training; training.SAVE_EVERY = float(sys.argv[1]); "
    "commands.main(sys.argv[2:])"
)
TRAINING = {"scenes": 20, "baselines": ("random",), "precision": "float32", "grpo.num_scenes": 8, "grpo.width": 32}
SHORT, LONG, ENDLESS = 2_000, 20_000, 10_000_000  # glimpses
PRETRAINING = {"digits.canvas": 40, "multizoom.patch": 8, "multizoom.width": 24, "multizoom.depth": 1, "batch": 8}

Outcome = str  # "" if the case passed, otherwise what went wrong


def words(out: Path, glimpses: int = LONG, **more: Any) -> list[str]:
    """Return the words of a short training."""
    return ["policy", *words_of({**TRAINING, "train_glimpses": glimpses, "out": out, **more})]


def command(arguments: list[str]) -> list[str]:
    """Return the command that runs the project's command line with checkpoints in quick succession."""
    return [sys.executable, "-c", DRIVER, str(EVERY), *arguments]


def variables(**more: str) -> dict[str, str]:
    """Return the variables of a process: with one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess:
    """Run the command line; TimeoutExpired if it hangs."""
    keywords = {"env": variables(), "cwd": ROOT, "capture_output": True, "text": True, "timeout": SECONDS, **options}
    return subprocess.run(command(arguments), **keywords)


def one_error(done: subprocess.CompletedProcess) -> Outcome:
    """Say what is wrong unless a process ended with exactly one error, and that in one line."""
    lines = [line for line in done.stderr.splitlines() if "error: " in line]
    if done.returncode == 0:
        return "no error"
    if len(lines) != 1 or is_noisy(done.stderr):
        return f"{len(lines)} errors, status {done.returncode}: {done.stderr[-800:]}"
    return ""


def no_error(done: subprocess.CompletedProcess) -> Outcome:
    """Say what is wrong unless a process ended well."""
    if done.returncode or is_noisy(done.stderr):
        return f"status {done.returncode}: {done.stderr[-800:]}"
    return ""


def is_noisy(text: str) -> bool:
    """Return whether Python itself says something."""
    return bool(re.search(r"Traceback|Exception ignored|[a-z]Warning:", text))


def hashes(folder: Path) -> dict[str, str]:
    """Return what is in the files of a folder, without the logs."""
    files = [path for path in folder.rglob("*") if path.is_file() and "tfevents" not in path.name]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def is_whole(folder: Path) -> Outcome:
    """Say what is wrong unless a folder's policy can be read, and no temporary file is left."""
    left = [path.name for path in folder.glob(".*.tmp")]
    try:
        checkpoint.load(folder / "policy.safetensors", "policy")
    except (OSError, ValueError) as error:
        return f"the policy is damaged: {error}"
    return f"left behind: {left}" if left else ""


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of a size; it needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def make_read_only(disk: Path) -> None:
    """Make a mounted disk read-only."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True, capture_output=True)


def full_disk(folder: Path, old: Path) -> Outcome:
    """A disk that is full once the old run is on it."""
    with small_disk(folder / "disk", "64m") as disk:
        out = shutil.copytree(old, disk / "run")
        before = hashes(out)
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        done = run(words(out, resume=True))
        return one_error(done) or is_whole(out) or ("" if hashes(out) == before else "old files have changed")


def disk_that_fills_up(folder: Path, old: Path) -> Outcome:
    """A disk with room for the first files of a new run only."""
    with small_disk(folder / "disk", "64k") as disk:
        done = run(words(disk / "run"))
        return one_error(done) or ("left behind" if list(disk.rglob(".*.tmp")) else "")


def disk_that_fills_up_in_pretraining(folder: Path, old: Path) -> Outcome:
    """The same while a perception is pretrained."""
    with small_disk(folder / "disk", "64k") as disk:
        done = run(["pretrain", *words_of({**PRETRAINING, "steps": 400, "out": disk / "run"})])
        return one_error(done) or ("left behind" if list(disk.rglob(".*.tmp")) else "")


def largest_file(folder: Path, old: Path) -> Outcome:
    """A limit of the size of a file that is smaller than a policy."""
    out = shutil.copytree(old, folder / "run")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    return one_error(run(words(out, resume=True), preexec_fn=limit)) or is_whole(out)


def read_only_folder(folder: Path, old: Path) -> Outcome:
    """An output folder on a disk that is read-only."""
    with small_disk(folder / "disk", "64m") as disk:
        out = shutil.copytree(old, disk / "run")
        before = hashes(out)
        make_read_only(disk)
        outcomes = [run(words(out, resume=True)), run(words(disk / "new"))]
        return next(filter(None, map(one_error, outcomes)), "") or ("" if hashes(out) == before else "changed")


def folder_becomes_read_only(folder: Path, old: Path) -> Outcome:
    """A disk that becomes read-only during a training."""
    with small_disk(folder / "disk", "64m") as disk:
        out = shutil.copytree(old, disk / "run")

        def happen() -> None:  # logs are open for writing: a remount is refused, a full disk does the same to them
            shutil.copytree(out, folder / "copy")
            subprocess.run(["mount", "--bind", disk, disk], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)

        done = meanwhile(words(out, ENDLESS, resume=True), happen)
        subprocess.run(["umount", "-l", disk], check=True)
        return one_error(done) or is_whole(out)


def folder_below_a_file(folder: Path, old: Path) -> Outcome:
    """An output folder that cannot be made, because a file has its name or one above it."""
    (folder / "file").write_text("mine")
    outcomes = [run(words(folder / "file" / "run")), run(words(folder / "file"))]
    return next(filter(None, map(one_error, outcomes)), "") or (
        "" if (folder / "file").read_text() == "mine" else "file overwritten"
    )


def folder_vanishes(folder: Path, old: Path) -> Outcome:
    """An output folder that is deleted during a training."""
    out = shutil.copytree(old, folder / "run")
    done = meanwhile(words(out, LONG, resume=True), lambda: shutil.rmtree(out.rename(folder / "gone")))
    return (one_error(done) if done.returncode else no_error(done)) or (is_whole(out) if not done.returncode else "")


def two_runs_in_one_folder(folder: Path, old: Path) -> Outcome:
    """A second training into the folder of one that is under way."""
    out, results = folder / "run", []
    done = meanwhile(words(out, LONG), lambda: results.append(run(words(out, LONG, seed=1))))
    return no_error(done) or one_error(results[0]) or is_whole(out)


def second_run_over_an_old_one(folder: Path, old: Path) -> Outcome:
    """A new training into the folder of an old one."""
    out = shutil.copytree(old, folder / "run")
    return one_error(run(words(out, SHORT, seed=1))) or ("" if hashes(out) == hashes(old) else "overwritten")


def pipe_closed(folder: Path, old: Path) -> Outcome:
    """A reader that takes one line and closes the pipe."""
    texts = [["--help"], ["evaluate", "--help"], words(folder / "run", SHORT)]
    for arguments in texts:
        process = subprocess.Popen(
            command(arguments), cwd=ROOT, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if process.stdout and process.stderr:
            process.stdout.readline()
            process.stdout.close()
        told = process.stderr.read() if process.stderr else ""
        process.wait(SECONDS)
        if is_noisy(told) or "error: " in told:
            return f"{arguments[:2]}: {told[-600:]}"
    return is_whole(folder / "run")


def output_closed(folder: Path, old: Path) -> Outcome:
    """Standard output closed from the beginning, or a device that is full."""
    for number, where in enumerate((">&-", "> /dev/full")):
        out = folder / f"run-{number}"
        line = ["sh", "-c", f'exec "$@" {where}', "sh", *command(words(out, SHORT))]
        done = subprocess.run(line, cwd=ROOT, env=variables(), stderr=subprocess.PIPE, text=True, timeout=SECONDS)
        if is_noisy(done.stderr) or (fault := is_whole(out)):
            return f"{where}: {fault if not is_noisy(done.stderr) else done.stderr[-600:]}"
    return ""


def no_home(folder: Path, old: Path) -> Outcome:
    """No home, no cache, and a project that is read-only; it needs root."""
    out, nowhere = folder / "run", "/dev/null/home"
    alone = {key: value for key, value in variables().items() if not key.startswith(("XDG_", "MPL", "NUMBA_"))}
    mount = f"mount --bind {ROOT} {ROOT} && mount -o remount,bind,ro {ROOT} && "
    line = ["unshare", "--mount", "sh", "-c", f'{mount}cd {ROOT} && exec "$@"', "sh", *command(words(out, SHORT))]
    done = subprocess.run(line, env={**alone, "HOME": nowhere}, capture_output=True, text=True, timeout=SECONDS)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        raise subprocess.CalledProcessError(done.returncode, "mount")
    return no_error(done) or is_whole(out)


def few_open_files(folder: Path, old: Path) -> Outcome:
    """A process that may open a few files only."""
    out = shutil.copytree(old, folder / "run")
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))  # noqa: E731
    done = run(words(out, resume=True), preexec_fn=limit)
    return (one_error(done) if done.returncode else no_error(done)) or is_whole(out)


def asked_to_stop(folder: Path, old: Path) -> Outcome:
    """SIGTERM during a training: it saves, and says how to go on."""
    out = shutil.copytree(old, folder / "run")
    done = meanwhile(words(out, ENDLESS, resume=True), None, signal.SIGTERM)
    return ("" if "--resume goes on" in done.stderr and not is_noisy(done.stderr) else done.stderr[-600:]) or is_whole(
        out
    )


def meanwhile(
    arguments: list[str], happen: Callable[[], Any] | None, then: signal.Signals | None = None
) -> subprocess.CompletedProcess:
    """Run the command line; let something happen when its training is under way, or send it a signal."""
    process = subprocess.Popen(
        command(arguments), cwd=ROOT, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        policy = Path(arguments[arguments.index("--out") + 1]) / "policy.safetensors"
        before, started = policy.stat().st_mtime if policy.is_file() else 0, time.monotonic()
        while process.poll() is None and time.monotonic() - started < SECONDS:
            if policy.is_file() and policy.stat().st_mtime > before:
                break
            time.sleep(0.05)
        if happen:
            happen()
        if then:
            process.send_signal(then)
        output, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


CASES: dict[str, Callable[[Path, Path], Outcome]] = {
    case.__name__: case
    for case in (
        full_disk,
        disk_that_fills_up,
        disk_that_fills_up_in_pretraining,
        largest_file,
        read_only_folder,
        folder_becomes_read_only,
        folder_below_a_file,
        folder_vanishes,
        two_runs_in_one_folder,
        second_run_over_an_old_one,
        pipe_closed,
        output_closed,
        no_home,
        few_open_files,
        asked_to_stop,
    )
}


def measure(tell: Callable[[str], None] = print, cases: tuple[str, ...] = tuple(CASES)) -> dict[str, Any]:
    """Run all cases; return the figures."""
    faults = {}
    with tempfile.TemporaryDirectory() as name:
        old = Path(name) / "old"
        fault = no_error(run(words(old, SHORT)))
        if fault:
            raise RuntimeError(f"a training without any fault failed: {fault}")
        for case in cases:
            folder = Path(name) / case
            folder.mkdir()
            try:
                faults[case] = CASES[case](folder, old)
            except subprocess.TimeoutExpired:
                faults[case] = "hung"
            except subprocess.CalledProcessError as error:
                faults[case] = f"not run, because it needs root: {error}"
            tell(f"{case}: {faults[case] or 'passed'}")
    return {
        "environment_cases": len(faults),
        "environment_faults": sum(bool(fault) for fault in faults.values()),
        "environment_failed": {case: fault for case, fault in faults.items() if fault},
    }
