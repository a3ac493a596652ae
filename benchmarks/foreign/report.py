"""The page of foreign environments."""

from typing import Any

from benchmarks.files import PAGES
from benchmarks.markdown import put_in, table
from benchmarks.statistics import with_interval

PAGE = PAGES / "foreign.md"
THEIRS = (  # of ap_gym's authors, and of policies that learn nothing: who, steps in millions, accuracy in %
    ("best off-policy method of its authors", "", "99.1"),
    ("PPO of its authors", "10", "78.6"),
    ("along a grid", "", "73.3"),
    ("random", "", "69.6"),
)


def comparison(contents: dict[str, Any]) -> str:
    """Return the accuracy after the last glimpse beside that of others."""
    rows = contents["rows"]
    millions = f"{max(row['steps'] for row in rows) / 1e6:.2f}"
    ours = [
        (
            f"GRPO, {how} ({len(rows)} seeds)",
            millions,
            with_interval([row[key][-1] for row in rows], scale=100, digits=2),
        )
        for how, key in (("gazes drawn", "accuracy"), ("likeliest gaze", "accuracy_greedy"))
    ]
    return table(["who", "steps, millions", "accuracy, %"], [*ours, *THEIRS])


def seeds(contents: dict[str, Any]) -> str:
    """Return what each seed came to."""
    lines = [
        [
            row["seed"],
            f"{row['steps']:,}",
            *[f"{100 * row['accuracy'][step]:.2f}" for step in (3, 7, 11, 15)],
            f"{100 * row['accuracy_greedy'][15]:.2f}",
            row["train_cpu_seconds"],
        ]
        for row in contents["rows"]
    ]
    heads = ["seed", "steps", "4 glimpses", "8", "12", "16", "16, likeliest gaze", "training, CPU s"]
    return table(heads, lines)


def report(contents: dict[str, Any]) -> None:
    """Write the tables into the page."""
    if contents.get("rows"):
        put_in(PAGE, "foreign", comparison(contents) + "\n\n" + seeds(contents))
