"""The page of the agents, README's table and the plot."""

from typing import Any

import numpy as np

from benchmarks.entries import Entries, by_agent
from benchmarks.files import DOCS, PAGES, ROOT
from benchmarks.markdown import put_in, table
from benchmarks.statistics import with_interval
from foveal_agents.plots import plot_accuracy
from foveal_agents.results import gap_closed

README_AGENTS = ("random", "raster", "ppo", "grpo", "oracle")
GAP = (
    "Gap closed: share of the distance from `random` to `oracle` at the last glimpse. "
    "The learners have slightly different numbers of glimpses, because their updates are of different sizes."
)


def accuracy_table(contents: dict[str, Any], *, seconds: bool = False) -> str:
    """Return the accuracy in % by glimpse, one line for each agent, the best last; `seconds` adds those of training."""
    rows, glimpses = contents["rows"], range(contents["glimpses"] + 1)
    lines = []
    for name, entries in by_agent(rows).items():
        accuracy = np.array([entry["accuracy"] for entry in entries])
        spent = np.mean([entry["train_seconds"] for entry in entries])
        last = [f"{spent:.0f}" if spent else "-"] if seconds else []
        lines.append([name, len(entries), *[with_interval(column, scale=100) for column in accuracy.T], *last])
    return table(["agent", "seeds", *glimpses, *(["training, s"] if seconds else [])], lines)


def short_table(contents: dict[str, Any]) -> str:
    """Return README's table: some agents, after some glimpses."""
    glimpses, entries_of = (0, 1, contents["glimpses"]), by_agent(contents["rows"])
    lines = [
        [name, *[with_interval([entry["accuracy"][glimpse] for entry in entries], scale=100) for glimpse in glimpses]]
        for name, entries in entries_of.items()
        if name in README_AGENTS
    ]
    return table(["agent", *glimpses], lines)


def caption(contents: dict[str, Any]) -> str:
    """Say what the accuracies are of."""
    return (
        f"Accuracy in % on {contents['scenes']:,} {contents['split']} scenes, after the first look (column 0) and "
        "after each glimpse. ±: half width of the 95 % interval over seeds. "
        "`oracle` looks near the target, because it knows where it is; `greedy_oracle` knows the label as well. "
        "Both are bounds, not competitors."
    )


def gaps(contents: dict[str, Any]) -> str:
    """Return the share of the distance from random to oracle that each learner closes, with all seeds and by seed."""
    rows, lines = contents["rows"], []
    for name in contents["gap_closed"]:
        learned = [entry for entry in rows if entry["agent"] == name]
        shares = [share(gap_of_seed(rows, name, entry["seed"])) for entry in learned]
        by_seed = ", ".join(f"{one} in {e['train_seconds']:.0f} s" for one, e in zip(shares, learned, strict=True))
        glimpses = ", ".join(f"{count:,}" for count in sorted({entry["train_glimpses"] for entry in learned}))
        lines.append([name, share(gap_closed(rows, name)), by_seed, glimpses])
    return table(["agent", "gap closed", "by seed", "glimpses of training"], lines)


def share(closed: float | None) -> str:
    """Return a share of the gap as tables have it; "-" where the gap is nearly nothing."""
    return "-" if closed is None else f"{closed:.0%}"


def gap_of_seed(rows: Entries, name: str, seed: int) -> float | None:
    """Return the share of the distance that a learner closes with one seed; scripted agents without seeds count."""
    return gap_closed([entry for entry in rows if entry["seed"] == seed or not entry["train_glimpses"]], name)


def facts(contents: dict[str, Any]) -> str:
    """Return what the comparison is made of."""
    pixels, canvas = contents["sensor_pixels_per_glimpse"], contents["canvas"]
    lines = [
        ["perception", f"`{contents['perception']}`"],
        ["canvas", f"{canvas} px"],
        ["sensor pixels of a glimpse", f"{pixels} ({pixels / canvas**2:.1%} of the image)"],
        ["command", f"`{contents['command']}`"],
    ]
    if "threads" in contents:
        lines.insert(3, ["CPU threads", contents["threads"]])
    return table(["", ""], lines)


def report(contents: dict[str, Any]) -> None:
    """Write page, README's table and plot."""
    plot_accuracy(DOCS / "accuracy.png", contents)
    parts = [accuracy_table(contents, seconds=True), caption(contents), gaps(contents), GAP, facts(contents)]
    put_in(PAGES / "agents.md", "agents", "\n\n".join([*parts, "![Accuracy by glimpse](../accuracy.png)"]))
    short = (
        f"Accuracy on `Classify-v0` in %, by glimpse; 0 is the first look. ±: half width of the 95 % interval over "
        f"{max(entry['seed'] for entry in contents['rows']) + 1} seeds. `python -m benchmarks.agents` makes it again."
    )
    put_in(ROOT / "README.md", "agents", f"{short_table(contents)}\n\n{short}")
    print(accuracy_table(contents, seconds=True))
