"""The page of the faults."""

from typing import Any

from benchmarks.files import PAGES
from benchmarks.markdown import put_in, table

NOTE = (
    "A kill is `kill -9` at a random moment; the training is resumed with `--resume`. Work lost is worked out, not "
    "measured: the age of the last checkpoint in trials that save every 0.2 s, plus the 30 s of a real training. "
    "A damaged image is read as some image if its format has no checksum. Growth is measured after a warm-up. "
    "A mutant is a core line with one small fault; it is caught if a test fails. "
    "`python -m benchmarks.reliability` makes it again."
)


def report(contents: dict[str, Any]) -> None:
    """Write the page."""
    if not contents:
        return
    shown = dict(contents)
    lines = [
        ["trainings killed and resumed", "{kills}"],
        ["... that end with the same bits", "{kills_equal}"],
        ["... points of TensorBoard that are there twice, or missing", "{tensorboard_doubles}, {tensorboard_missing}"],
        ["... work lost by a kill, at most, as worked out below", "{lost_seconds_max} s"],
        ["faults of the machine that were tried", "{environment_cases}"],
        ["... that end in anything but one error and whole files", "{environment_faults}"],
        ["damaged checkpoints", "{checkpoints}"],
        ["... refused by an error that names the file", "{checkpoints_refused}"],
        ["... loaded with other contents, in silence", "{checkpoints_silent}"],
        ["... another error or a crash; hung", "{checkpoints_crashed}; {checkpoints_hung}"],
        ["damaged images and slides", "{pictures}"],
        ["... refused by an error that names the file; read", "{pictures_refused}; {pictures_read}"],
        ["... another error or a crash; hung", "{pictures_crashed}; {pictures_hung}"],
        ["growth of memory over {steps:,} steps", "{growth_mb_steps} MB of {memory_mb} MB"],
        ["growth of memory over {environments:,} environments made and closed", "{growth_mb_environments} MB"],
        ["mutants of core lines", "{mutants}"],
        ["... caught by the tests", "{mutants_caught}"],
    ]
    known = [[cell.format_map(shown) for cell in line] for line in lines if is_measured(line, shown)]
    put_in(PAGES / "reliability.md", "reliability", "\n\n".join([table(["what", "measured"], known), NOTE]))


def is_measured(line: list[str], contents: dict[str, Any]) -> bool:
    """Return whether all figures of a line are there."""
    try:
        "".join(line).format_map(contents)
    except KeyError:
        return False
    return True
