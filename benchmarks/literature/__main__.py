"""Rows of the glimpse literature, from pretraining to the test table, each with its baselines and seeds.

``python -m benchmarks.literature --row cluttered60`` makes a row from the data under FOVEAL_DATA and writes
results/cluttered60.json; it goes on where it was interrupted. ``--report`` makes page and plots of all rows again from
the files in results/.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.literature.report import report
from benchmarks.literature.rows import ROWS
from benchmarks.literature.run import make_row, pretrain


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a row, and page and plots of all rows."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        "python -m benchmarks.literature",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--row", choices=list(ROWS), help="row to make")
    parser.add_argument("--stage1", type=int, metavar="SEED", help="only pretrain the row's perception of this seed")
    parser.add_argument("--perceptions", type=int, help="seeds of pretraining (default: as many as the row has)")
    parser.add_argument("--learners", nargs="+", help="agents that learn (default: those of the row)")
    parser.add_argument("--report", action="store_true", help="make page and plots from the results alone")
    chosen = parser.parse_args(words)
    if not (chosen.row or chosen.report):
        parser.error("name a --row, or --report")
    if chosen.row:
        changes = {"perceptions": chosen.perceptions, "learners": chosen.learners and tuple(chosen.learners)}
        row = replace(ROWS[chosen.row], **{name: value for name, value in changes.items() if value})
        if chosen.stage1 is not None:
            pretrain(chosen.row, row, chosen.stage1)
            return
        make_row(chosen.row, row, shlex.join(["python", "-m", "benchmarks.literature", *words]))
    report()


if __name__ == "__main__":
    main()
