"""The page of the literature rows: every table, from the files in results/ alone."""

from typing import Any

import numpy as np

from benchmarks.entries import Entries, by_agent, errors, has_canvases, on_canvas, reads_whole_image
from benchmarks.files import DOCS, PAGES, read_results
from benchmarks.literature.plots import plot, plot_canvases
from benchmarks.literature.rows import ROWS
from benchmarks.markdown import put_in, table
from benchmarks.statistics import with_interval
from foveal_agents.results import gap_closed

FEW_PIXELS = 6400  # sensor pixels of the published figure for 250 px
PAGE = PAGES / "literature.md"
FILE_ORDER = (  # of results made before test scenes had a random order; later ones say how many images there are
    " The scenes show the first {scenes:,} of MNIST's 10,000 test pictures in the order of their file, because test "
    "scenes had that order then. They are a little harder than all: GRPO on `cluttered60` has 2.4 % errors on the "
    "first 1,000, and 1.8 % on all."
)


def last_error(entries: Entries) -> str:
    """Return the error at the last glimpse in %, over runs."""
    return with_interval(errors(entries)[:, -1], digits=2)


def share(rows: Entries, agent: str) -> str:
    """Return the share of the distance from random to oracle that an agent closes, or "-"."""
    closed = gap_closed(rows, agent)
    return "-" if closed is None else f"{closed:.0%}"


def seconds(entries: Entries) -> str:
    """Return the mean seconds of training."""
    return f"{np.mean([entry['train_seconds'] for entry in entries]):.0f}"


def row_section(contents: dict[str, Any]) -> str:
    """Return the error of each agent by glimpse, and what the row is made of."""
    first = 0 if contents["first_look"] else 1  # without a first look nothing was seen at 0
    rows, glimpses = contents["rows"], range(first, contents["glimpses"] + 1)
    lines = []
    for agent, entries in by_agent(rows).items():
        found = errors(entries)[:, first:]
        cells = [f"{value:.1f}" for value in found.mean(axis=0)[:-1]]
        tail = [f"{found.mean():.2f}", share(rows, agent) if entries[0]["train_glimpses"] else "-"]
        if reads_whole_image(entries):
            cells, tail = [""] * len(cells), ["", ""]
        lines.append([agent, len(entries), *cells, last_error(entries), *tail, seconds(entries)])
    heads = ["agent", "runs", *glimpses, "mean", "gap closed", "training, s"]
    seeds = {entry["perception_seed"] for entry in rows}
    policies = "Runs are policies of several seeds" + (
        f" on each of {len(seeds)} perceptions, taken as independent." if len(seeds) > 1 else "."
    )
    wide = "; with two runs it is wide" if any(len(e) == 2 for e in by_agent(rows).values()) else ""
    columns = ("" if first else "Column 0: after the first look. ") + "Column t: after glimpse t."
    caption = (
        f"Error in % on {contents['scenes']:,} {contents['split']} scenes. {columns} "
        f"±: half width of the 95 % interval over runs{wide}. {policies} "
        "Nets without a column for each glimpse read the whole image at once; their seconds are CPU seconds."
    )
    return "\n\n".join([table(heads, lines), caption, table(["", ""], facts(contents))])


def facts(contents: dict[str, Any]) -> list[list[str]]:
    """Return what a row is made of, as lines of a table."""
    rows = contents["rows"]
    learned = [entry for entry in rows if entry["agent"] == "grpo"]
    perceptions = {entry["perception_seed"]: entry for entry in learned}
    minutes = ", ".join(f"{entry['stage1_cpu_seconds'] / 60:.0f}" for entry in perceptions.values())
    about, pixels = learned[0], contents["sensor_pixels_per_glimpse"]
    lines = [
        ["to beat", contents["to_beat"]],
        ["sensor pixels of a glimpse, of an episode", f"{pixels:,}, {contents['sensor_pixels']:,}"],
        ["parameters of the perception", f"{about['parameters']:,}"],
        ["cost of a glimpse", f"{about['flops_per_glimpse'] / 1e6:.1f} MFLOP"],
        ["pretraining of each perception, CPU minutes", minutes],
        ["glimpses of training of each policy", f"{about['train_glimpses']:,}"],
    ]
    if len(perceptions) > 1:
        for seed in perceptions:
            own = [entry for entry in learned if entry["perception_seed"] == seed]
            lines.append([f"GRPO on perception {seed}", last_error(own)])
    return [*lines, ["command", f"`{contents['command']}`"]]


def canvases_section(contents: dict[str, Any]) -> str:
    """Return the error of each agent by canvas, GRPO's by glimpse, and what the row is made of."""
    canvases, rows = contents["canvas"], contents["rows"]
    lines = []
    for agent, entries in by_agent(rows).items():
        cells = [last_error(on_canvas(entries, canvas)) for canvas in canvases]
        lines.append([agent, len(on_canvas(entries, canvases[0])), *cells, seconds(entries)])
    heads = ["agent", "runs", *[f"{canvas} px" for canvas in canvases], "training, s"]
    caption = (
        f"Error in % at the last glimpse, on {contents['scenes']:,} {contents['split']} scenes of each canvas. "
        "±: half width of the 95 % interval over runs, which are policies of several seeds. "
        "The conv net learned on 100 px and reads each canvas pixel by pixel; its seconds are CPU seconds."
    )
    if "images" not in contents:
        caption += FILE_ORDER.format(scenes=contents["scenes"])
    parts = [table(heads, lines), caption, *grpo_by_glimpse(contents), table(["", ""], facts(contents))]
    return "\n\n".join(parts)


def grpo_by_glimpse(contents: dict[str, Any]) -> tuple[str, str]:
    """Return the table of GRPO's error on each canvas by glimpse, and its caption."""
    lines = []
    for canvas in contents["canvas"]:
        here = on_canvas(contents["rows"], canvas)
        found = errors([entry for entry in here if entry["agent"] == "grpo"])
        cells = [f"{value:.1f}" for value in found.mean(axis=0)]
        lines.append([f"{canvas} px", *cells, f"{found.mean():.1f}", share(here, "grpo")])
    learned = [entry for entry in on_canvas(contents["rows"], 250) if entry["agent"] == "grpo"]
    column = min(contents["glimpses"], FEW_PIXELS // contents["sensor_pixels_per_glimpse"] - 1)
    few = with_interval(errors(learned)[:, column], digits=2)
    imitated = contents.get("agent_options", {}).get("grpo", {}).get("imitation")
    caption = (
        "Error of GRPO in %, means over runs. Column 0: after the first look. Column t: after glimpse t. "
        f"The published figure for 250 px has {FEW_PIXELS:,} sensor pixels. Glimpse {column} is the last within them: "
        f"{few}."
    )
    if imitated:
        caption += " GRPO imitated gazes at the target in the first half of its training."
    return table(["GRPO", *range(contents["glimpses"] + 1), "mean", "gap closed"], lines), caption


def summary(found: dict[str, dict[str, Any]]) -> str:
    """Return the table of all rows, one line for each."""
    heads = ["row", "to beat", "sensor px", "GRPO", "PPO", "random", "oracle", "whole image", "gap closed", "CPU min"]
    lines = []
    for name, contents in found.items():
        rows = on_canvas(contents["rows"], 250) if has_canvases(contents) else contents["rows"]
        groups = by_agent(rows)
        nets = [f"{agent} {last_error(e)}" for agent, e in groups.items() if reads_whole_image(e)]
        minutes = np.mean([entry["stage1_cpu_seconds"] for entry in groups["grpo"]]) / 60
        more = np.mean([entry.get("train_cpu_seconds", entry["train_seconds"]) for entry in groups["grpo"]]) / 60
        last = {agent: last_error(groups[agent]) if agent in groups else "-" for agent in ("ppo", "random", "oracle")}
        lines.append(
            [
                f"`{name}`" + (" (at 250 px)" if has_canvases(contents) else ""),
                contents["to_beat"],
                f"{contents['sensor_pixels']:,}",
                f"**{last_error(groups['grpo'])}**",
                *last.values(),
                ", ".join(nets) or "-",
                share(rows, "grpo"),
                f"{minutes:.0f} + {more:.1f}",
            ]
        )
    caption = (
        "Test error in % at the last glimpse. ±: half width of the 95 % interval over runs. "
        "Gap closed: share of the distance from `random` to `oracle` that GRPO closes. "
        "CPU min: pretraining of the perception and training of one policy, means over runs."
    )
    return f"{table(heads, lines)}\n\n{caption}"


def report() -> None:
    """Write the page and the plots of all rows that were made."""
    found = {name: contents for name in ROWS if (contents := read_results(name))}
    for name, contents in found.items():
        several = has_canvases(contents)
        groups = by_agent(contents["rows"])
        (plot_canvases if several else plot)(DOCS / f"{name}.png", name, contents, groups)
        text = canvases_section(contents) if several else row_section(contents)
        put_in(PAGE, f"literature.{name}", f"{text}\n\n![Error of `{name}`](../{name}.png)")
    put_in(PAGE, "literature", summary(found))
    print(summary(found))
