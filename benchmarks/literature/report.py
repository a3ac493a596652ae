"""Every table and plot of the evidence, from the files in results/ alone."""

import json
from pathlib import Path
from typing import Any

import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from benchmarks import RESULTS, ROOT, put_in
from benchmarks.literature.run import ROWS
from foveal_agents.results import BASELINES, save_figure

SEVERAL_PIXELS = 6400  # sensor pixels of the published figure for 250 px
PAGE = ROOT / "docs" / "glimpses.md"


def by_agent(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of each agent, worst last look first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in rows:
        groups.setdefault(entry["agent"], []).append(entry)
    return dict(sorted(groups.items(), key=lambda item: np.mean([entry["accuracy"][-1] for entry in item[1]])))


def errors(entries: list[dict[str, Any]]) -> np.ndarray:
    """Return the test errors in %, [runs, looks]."""
    return 100 * (1 - np.array([entry["accuracy"] for entry in entries]))


def first_column(contents: dict[str, Any]) -> int:
    """Return the first look that counts: 1 where there is no first look in the centre, and nothing seen at 0."""
    return int(contents.get("first_look", "centre") is None)


def spread(values: np.ndarray) -> str:
    """Return "mean ± standard deviation" of one figure over runs."""
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def gap(groups: dict[str, list[dict[str, Any]]], agent: str) -> float | None:
    """Return the share of the distance from random to the near-the-target oracle that an agent closes, if known."""
    if not {"random", "oracle"} <= set(groups):
        return None
    random, oracle, mine = (errors(groups[name])[:, -1].mean() for name in ("random", "oracle", agent))
    return (random - mine) / (random - oracle) if random > oracle else None


def has_canvases(contents: dict[str, Any]) -> bool:
    """Return whether a row was tested on several canvases, and each of its entries has a "canvas"."""
    return isinstance(contents["canvas"], list)


def line(cells: list[Any]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def detail(name: str, contents: dict[str, Any]) -> str:
    """Return the section of a row: its table, in words what it cost, and its plot."""
    groups, looks = by_agent(contents["rows"]), contents["glimpses"] + 1
    first = first_column(contents)
    shown = [f"look {look}" for look in range(first, looks)]
    heads = ["agent", "runs", *shown, "mean of looks", "gap closed", "stage 2, s"]
    lines = [line(heads), line(["---"] * len(heads))]
    for agent, entries in groups.items():
        found = errors(entries)[:, first:]
        whole = "parameters" in entries[0] and "steps" in entries[0]
        closed = gap(groups, agent) if entries[0]["train_glimpses"] else None
        cells = ["" if whole else f"{value:.1f}" for value in found.mean(axis=0)[:-1]]
        seconds = np.mean([entry["train_seconds"] for entry in entries])
        tail = [
            spread(found[:, -1]),
            f"{found.mean():.2f}",
            "-" if closed is None else f"{closed:.0%}",
            f"{seconds:.0f}",
        ]
        if whole:
            tail[1:3] = "", ""
        lines.append(line([agent, len(entries), *cells, *tail]))
    about = next(entry for entry in contents["rows"] if "steps" not in entry)
    seeds = sorted({entry["perception_seed"] for entry in contents["rows"]})
    learned = [entry for entry in contents["rows"] if entry["agent"] == "grpo"]
    single = "; ".join(
        f"seed {seed}: {spread(errors([entry for entry in learned if entry['perception_seed'] == seed])[:, -1])}"
        for seed in seeds
    )
    minutes = np.mean([entry["stage1_cpu_seconds"] for entry in contents["rows"] if "stage1_cpu_seconds" in entry]) / 60
    included = "all of them where the agent chooses" if first else "the first look included"
    words = (
        f"Error in % on {contents['scenes']:,} {contents['split']} scenes, mean ± standard deviation over runs "
        f"(seeds of stage 1: {len(seeds)}). To beat: {contents['to_beat']}. "
        f"{contents['sensor_pixels_per_glimpse']:,} sensor pixels a look, {contents['sensor_pixels']:,} in all, "
        f"{included}. The perception has {about['parameters']:,} parameters, a look costs "
        f"{about['flops_per_glimpse'] / 1e6:.1f} MFLOP; stage 1 took {minutes:.0f} CPU minutes. GRPO by perception: "
        f"{single}. Agents learned from {learned[0]['train_glimpses']:,} glimpses each. "
        "`oracle` knows where the target is, `greedy_oracle` the label as well; nets without a column for each look "
        "read the whole image at once, trained for the CPU seconds in their last column. "
        f"`{contents['command']}` makes it again."
    )
    return "\n\n".join([f"## `{name}`", "\n".join(lines), words, f"![{name}]({name}.png)"])


def ladder_detail(name: str, contents: dict[str, Any]) -> str:
    """Return the section of a row that is tested on several canvases: its table, words and plot."""
    canvases, looks = contents["canvas"], contents["glimpses"] + 1
    pixels = contents["sensor_pixels_per_glimpse"]
    heads = ["agent", "runs", *[f"{canvas} px" for canvas in canvases], "stage 2, s"]
    lines = [line(heads), line(["---"] * len(heads))]
    for agent, entries in by_agent(contents["rows"]).items():
        cells = [spread(errors(on_canvas(entries, canvas))[:, -1]) for canvas in canvases]
        seconds = np.mean([entry["train_seconds"] for entry in entries])
        lines.append(line([agent, len(on_canvas(entries, canvases[0])), *cells, f"{seconds:.0f}"]))
    learned = [entry for entry in contents["rows"] if entry["agent"] == "grpo"]
    curves = "; ".join(
        f"{canvas} px: " + ", ".join(f"{value:.1f}" for value in errors(on_canvas(learned, canvas)).mean(axis=0))
        for canvas in canvases
    )
    gaps = [gap(by_agent(on_canvas(contents["rows"], canvas)), "grpo") for canvas in canvases]
    closed = ", ".join("-" if share is None else f"{share:.0%}" for share in gaps)
    means = ", ".join(f"{errors(on_canvas(learned, canvas)).mean():.1f}" for canvas in canvases)
    fitting = min(looks, SEVERAL_PIXELS // pixels)
    few = spread(errors(on_canvas(learned, 250))[:, fitting - 1])
    first = learned[0]
    options = contents.get("agent_options", {}).get("grpo", {})  # results of before had none
    taught = "GRPO imitated gazes at the target in the first half of its training. " * bool(options.get("imitation"))
    words = (
        f"Error in % on {contents['scenes']:,} {contents['split']} scenes of each canvas, mean ± standard deviation "
        f"over runs, after {looks} looks, the first one included. To beat: {contents['to_beat']}. "
        f"{pixels:,} sensor pixels a look, {contents['sensor_pixels']:,} in all; at 250 px, after the {fitting} looks "
        f"that have at most {SEVERAL_PIXELS:,} px: {few}. GRPO closes {closed} of the distance from random to oracle "
        f"on the canvases; the mean of its looks is {means}; after each look, {curves}. One perception "
        f"({first['parameters']:,} parameters, a look costs {first['flops_per_glimpse'] / 1e6:.1f} MFLOP, stage 1 took "
        f"{first['stage1_cpu_seconds'] / 60:.0f} CPU minutes) and policies of {first['train_glimpses']:,} glimpses, "
        f"both trained on all canvases at once. {taught}The net that reads the whole image learned on 100 px, in the "
        "CPU seconds of its last column, and reads each canvas pixel by pixel. "
        f"`{contents['command']}` makes it again."
    )
    return "\n\n".join([f"## `{name}`", "\n".join(lines), words, f"![{name}]({name}.png)"])


def on_canvas(entries: list[dict[str, Any]], canvas: int) -> list[dict[str, Any]]:
    """Return the entries of one canvas."""
    return [entry for entry in entries if entry["canvas"] == canvas]


def plot_ladder(path: Path, name: str, contents: dict[str, Any]) -> None:
    """Plot the error by canvas for each agent, and GRPO's by look for each canvas."""
    canvases = contents["canvas"]
    figure = matplotlib.figure.Figure((11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for agent, entries in by_agent(contents["rows"]).items():
        found = [errors(on_canvas(entries, canvas))[:, -1] for canvas in canvases]
        style = ":" if "steps" in entries[0] else "--" if agent in BASELINES else "-"
        left.errorbar(
            canvases,
            [values.mean() for values in found],
            [values.std() for values in found],
            ls=style,
            marker="o",
            ms=4,
            label=agent,
        )
    learned = [entry for entry in contents["rows"] if entry["agent"] == "grpo"]
    for canvas in canvases:
        mean = errors(on_canvas(learned, canvas)).mean(axis=0)
        right.plot(np.arange(len(mean)), mean, marker="o", ms=4, label=f"{canvas} px")
    left.set_xscale("log")
    left.set_xticks(canvases, [str(canvas) for canvas in canvases])
    left.set_xlabel("side of the canvas in px")
    right.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    right.set_xlabel("glimpses of GRPO after the first look")
    for axes in (left, right):
        logarithmic(axes)
        axes.set_ylabel("error on test scenes (%)")
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    left.set_title(f"{name}: mean and standard deviation over runs", fontsize=10)
    save_figure(path, figure)


def logarithmic(axes: matplotlib.axes.Axes) -> None:
    """Give an axis of errors in % a logarithmic scale with plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in (0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 90) if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [round(float(tick), 1) for tick in np.linspace(low, high, 5)]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def plot(path: Path, name: str, contents: dict[str, Any]) -> None:
    """Plot the error by look, and the learning curves against steps and against seconds."""
    groups, first = by_agent(contents["rows"]), first_column(contents)
    figure = matplotlib.figure.Figure((15, 4.5), layout="constrained")
    axes, whole = figure.subplots(1, 3), []
    for agent, entries in groups.items():
        found = errors(entries)
        mean, deviation = found.mean(axis=0), found.std(axis=0)
        if "steps" in entries[0]:
            axes[0].axhline(mean[-1], ls=(":", "-.")[len(whole) % 2], color="black", label=f"{agent} (whole image)")
            whole.append(agent)
            continue
        looks = np.arange(len(mean))[first:]
        mean, deviation = mean[first:], deviation[first:]
        (drawn,) = axes[0].plot(looks, mean, "--" if agent in BASELINES else "-", marker="o", ms=4, label=agent)
        axes[0].fill_between(looks, mean - deviation, mean + deviation, color=drawn.get_color(), alpha=0.2, lw=0)
        curves = [entry["curve"] for entry in entries if entry.get("curve")]
        if not curves:
            continue
        points = min(len(curve) for curve in curves)
        for place, key, scale in ((1, "glimpses", 1000), (2, "seconds", 1)):
            x = np.mean([[point[key] for point in curve[:points]] for curve in curves], axis=0)
            y = 100 * (1 - np.array([[point["accuracy"] for point in curve[:points]] for curve in curves]))
            axes[place].plot(x / scale, y.mean(axis=0), color=drawn.get_color(), label=agent)
            low, high = y.mean(axis=0) - y.std(axis=0), y.mean(axis=0) + y.std(axis=0)
            axes[place].fill_between(x / scale, low, high, color=drawn.get_color(), alpha=0.2, lw=0)
    seen = "glimpses" if first else "glimpses after the first look"
    titles = (seen, "thousand glimpses of training", "seconds of training")
    for place, title in enumerate(titles):
        axes[place].set_xlabel(title)
        axes[place].set_ylabel(f"error on {'test' if place == 0 else 'validation'} scenes (%)")
        logarithmic(axes[place])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside center right", fontsize=8)
    axes[0].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes[0].set_title(f"{name}: mean and standard deviation over runs", fontsize=10)
    save_figure(path, figure)


def summary(found: dict[str, dict[str, Any]]) -> str:
    """Return README's table, one line for each row."""
    heads = ["row", "to beat", "sensor px", "GRPO", "PPO", "random", "oracle", "whole image", "gap closed", "CPU min"]
    lines = [line(heads), line(["---"] * len(heads))]
    for name, contents in found.items():
        several = has_canvases(contents)
        groups = by_agent(on_canvas(contents["rows"], 250) if several else contents["rows"])

        def last(agent: str, groups: dict = groups) -> str:
            return spread(errors(groups[agent])[:, -1]) if agent in groups else "-"

        whole = [agent for agent, entries in groups.items() if "steps" in entries[0]]
        closed = gap(groups, "grpo")
        one = np.mean([entry["stage1_cpu_seconds"] for entry in groups["grpo"]]) / 60
        two = np.mean([entry.get("train_cpu_seconds", entry["train_seconds"]) for entry in groups["grpo"]]) / 60
        shown = f"`{name}` (at 250 px)" if several else f"`{name}`"
        cells = [shown, contents["to_beat"], f"{contents['sensor_pixels']:,}", f"**{last('grpo')}**"]
        cells += [last("ppo"), last("random"), last("oracle")]
        cells += [", ".join(f"{agent} {last(agent)}" for agent in whole) or "-"]
        cells += ["-" if closed is None else f"{closed:.0%}", f"{one:.0f} + {two:.1f}"]
        lines.append(line(cells))
    return "\n".join(lines)


def report() -> None:
    """Write the page of the evidence, its plots and README's table."""
    found = {}
    for name in ROWS:
        path = RESULTS / f"{name}.json"
        if path.is_file():
            found[name] = json.loads(path.read_text())
    for name, contents in found.items():
        draw = plot_ladder if has_canvases(contents) else plot
        draw(PAGE.parent / f"{name}.png", name, contents)
    sections = "\n\n".join(
        (ladder_detail if has_canvases(contents) else detail)(name, contents) for name, contents in found.items()
    )
    put_in(PAGE, "glimpses", sections)
    put_in(ROOT / "README.md", "glimpses", summary(found))
    print(summary(found))
