"""The page of the search benchmark: tables, plots, and pictures of one scene under four prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch

from benchmarks import ROOT, put_in
from benchmarks.literature.report import line
from benchmarks.search import FOLDER, policy_paths, several
from benchmarks.search.ladder import GLIMPSES, LEARNERS, TRAINED, trained, world_of
from benchmarks.search.locate import CANVAS as LOCATE_CANVAS
from benchmarks.search.prompts import CANVAS, SCENES, searched
from foveal_agents.base import load_agent
from foveal_agents.results import save_figure
from foveal_env.render import draw

DOCS = ROOT / "docs"
PAGE = DOCS / "search.md"


def percent(found: Sequence[float]) -> str:
    """Return mean ± deviation in per cent."""
    mean, deviation = found
    return f"{100 * mean:.1f}" + (f" ± {100 * deviation:.1f}" if deviation else "")


def ladder_section(contents: dict[str, Any]) -> str:
    """Return the table of success and SPL by canvas and agent, and its plot."""
    success, spl = contents["success"], contents["spl"]
    names = [name for name in success["250"]]
    parts = []
    for title, found in (("success in %", success), ("SPL in %", spl)):
        lines = [line([title, *[f"{canvas} px" for canvas in found]]), line(["---"] * (len(found) + 1))]
        lines += [
            line([name, *[percent(found[canvas][name]) if name in found[canvas] else "-" for canvas in found]])
            for name in names
        ]
        parts.append("\n".join(lines))
    needed = ", ".join(f"{canvas} px {number:,}" for canvas, number in contents["exhaustive_glimpses"].items())
    parts.append(
        f"Within {GLIMPSES} glimpses after the first look at the centre; `exhaustive` is a raster of as many glimpses "
        f"as show every digit whole in the sharpest window that is a quarter wider than it ({needed}), on 200 scenes, "
        "and is not in the plot. All others have 1,000 scenes, from 2,000 px on 400, and 200 at 4,000 px."
    )
    parts.append(
        "SPL is success weighted by path length: success x l / max(p, l), p being the length of the gaze's path in px "
        "and l that of the straight line from the first gaze to where the target is within the tolerance, half of its "
        "side. Where l is 0, a success has SPL 1 whatever the path. An episode has at least one glimpse: at 60 px "
        "nearly all targets are found by the first look already, and what SPL tells there is how far the one needless "
        "glimpse goes, which is nowhere for an exhaustive raster of one glimpse."
    )
    parts.append(ladder_words(success))
    parts.append("![Success and SPL by canvas](search_ladder.png)")
    return "\n\n".join(parts)


def ladder_words(success: dict[str, Any]) -> str:
    """Say where it breaks, and why."""
    at = {canvas: {name: f"{100 * value[0]:.0f} %" for name, value in row.items()} for canvas, row in success.items()}
    return (
        f"On {TRAINED} px, where the policies were trained, GRPO finds {at['250']['grpo']} and random gaze "
        f"{at['250']['random']}. GRPO chooses among the cells of a grid and looks at none twice; "
        "Stable-Baselines3's PPO does neither. Two searchers that learn nothing, and look nowhere twice either, find "
        f"more: saliency ({at['250']['saliency']}) sees the whole image in 64 x 64 px, and `MostLikely` "
        f"({at['250']['MostLikely']}) looks where the frozen head's own map is highest. The policy breaks at 500 px "
        f"({at['500']['grpo']}): there a texel of its widest patch covers 42 px, more than the 28 px of a digit, and "
        f"it hardly sees where candidates are; looking near the target still finds {at['500']['oracle']}. The "
        f"perception, which has learned 60 to 400 px, breaks at 1,000 px (near the target {at['1000']['oracle']}): a "
        "texel of its sharpest patch covers 5 px there, and 21 px at 4,000 px. The number of its zooms is fixed, and "
        "they are relative to the image."
    )


def plot_ladder(path: Path, contents: dict[str, Any]) -> None:
    """Plot success and SPL against the side of the canvas."""
    figure = matplotlib.figure.Figure((12, 4.5), layout="constrained")
    for axes, key, title in zip(figure.subplots(1, 2), ("success", "spl"), ("success", "SPL"), strict=True):
        found = contents[key]
        for name in found["250"]:
            if name == "exhaustive":
                continue
            canvases = [canvas for canvas in found if name in found[canvas]]
            mean, deviation = 100 * np.array([found[canvas][name] for canvas in canvases]).T
            x = [int(canvas) for canvas in canvases]
            style = "-" if name in LEARNERS else "--"
            (drawn,) = axes.plot(x, mean, style, marker="o", ms=4, label=name)
            axes.fill_between(x, mean - deviation, mean + deviation, color=drawn.get_color(), alpha=0.2, lw=0)
        axes.set_xscale("log")
        axes.set_xticks([int(canvas) for canvas in found], list(found))
        axes.minorticks_off()
        axes.set_xlabel("side of the canvas in px; the target has 28")
        axes.set_ylabel(f"{title} (%)")
        axes.set_title(f"{title} within {GLIMPSES} glimpses, mean and deviation over seeds", fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(path, figure)


def draw_prompts(path: Path, scenes: int = 3) -> None:
    """Draw the same scenes under four prompts, as the first policy of GRPO searches them."""
    world = world_of(CANVAS)
    agent = load_agent(trained()["grpo"][0], world)
    figure = matplotlib.figure.Figure((11, 2.95 * scenes), layout="constrained")
    axes = figure.subplots(scenes, 4)
    for question in range(4):
        shown = world.source.scenes(torch.arange(scenes), question=question)
        last = searched(world, agent, shown)
        for row in range(scenes):
            picture, gazes = shown.images.pixels(row).numpy(), last.gazes[row].numpy()
            drawn = draw(picture, gazes, world.layout, boxes=shown.box[row : row + 1].numpy())
            answer = (last.outcome.prediction[row].numpy() + 1) / 2 * (drawn.shape[1], drawn.shape[0])
            axes[row, question].imshow(drawn)
            axes[row, question].plot(*answer, "x", color="cyan", ms=9, mew=2.5)
            axes[row, question].axis("off")
            taken, right = int(last.glimpses[row]), bool(last.outcome.correct[row])
            label = world.source.classes[int(shown.label[row])]
            axes[row, question].set_title(
                f"where is the {label}? " + (f"found at glimpse {taken}" if right else "not found"),
                fontsize=9,
                color="black" if right else "firebrick",
            )
    save_figure(path, figure)


def prompts_section(contents: dict[str, Any]) -> str:
    """Return the figures of the prompt in words."""
    right, wrong = (100 * np.mean(contents[f"success_{name}_prompt"]) for name in ("right", "wrong"))
    lines = [line(["mean distance of two paths", "two prompts", "one prompt", "farther apart under two", "p"])]
    lines.append(line(["---"] * 5))
    for key, name in (
        ("draws", "two draws from one policy"),
        ("crossed", "greedy, of two policies trained apart"),
        ("policies", "greedy; two prompts: of one policy, one prompt: of two"),
    ):
        found = contents["paths"][key]
        shares = (f"{found['two_prompts']:.3f}", f"{found['two_seeds']:.3f}", f"{found['farther']:.0%} of the scenes")
        lines.append(line([name, *shares, f"{found['wilcoxon_p']:.1g}"]))
    return "\n\n".join(
        [
            f"On {SCENES:,} test scenes of {CANVAS} px, GRPO finds the target in {right:.1f} % when the prompt names "
            f"it and in {wrong:.1f} % when it names another candidate of the same scene: "
            f"**{contents['prompt_effect_points']:.1f} points**.",
            "The distance of two paths is the mean distance between the gazes of the same glimpse, over the glimpses "
            "that both took, in half sides of the image; p is that of a Wilcoxon signed-rank test over scenes, "
            "one-sided. The last line was measured first; it compares what the prompt changes in one policy with what "
            "another seed changes, and the seed changes more. The other two, in which both sides are of one policy or "
            "both of two, were measured after it and because of it.",
            "\n".join(lines),
            "![The same scenes under four prompts](search_prompts.png)\n\nOrange: the path of the gaze, its last one "
            "red, with the windows of its patches in blue. Green: the target. Cyan: where the head says that it is; "
            "found means within half of the target's side, wherever the gaze is.",
        ]
    )


def stop_section(contents: dict[str, Any]) -> str:
    """Return the curve of accuracy against glimpses over prices."""
    lines = [line(["price of a glimpse, nats", "mean glimpses", "accuracy in %"]), line(["---"] * 3)]
    for point in contents["stop_curve"]["test"]:
        price = "cannot stop" if point["price"] is None else point["price"]
        lines.append(line([price, f"{point['glimpses']:.2f}", f"{100 * point['accuracy']:.1f}"]))
    words = (
        f"The price {contents['stop_price']}, chosen on validation scenes, loses "
        f"{contents['stop_accuracy_lost_points']:.1f} points and needs **{contents['stop_glimpse_share']:.0%}** of the "
        "glimpses (`Classify-v0`, five policies each)."
    )
    return "\n".join(lines) + f"\n\n{words}\n\n![Accuracy against glimpses](search_stop.png)"


def plot_stop(path: Path, contents: dict[str, Any]) -> None:
    """Plot accuracy against mean glimpses, over prices, beside policies that cannot stop."""
    figure = matplotlib.figure.Figure((6.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    rows = [row for row in contents["stop"] if row["split"] == "test"]
    full = [row["accuracy"] for row in rows if row["price"] is None]
    mean = 100 * np.mean(full, axis=0)
    axes.plot(np.arange(len(mean)), mean, "--", marker="o", ms=4, color="grey", label="fixed number of glimpses")
    curve = []
    for price in dict.fromkeys(row["price"] for row in rows if row["price"] is not None):
        own = [row for row in rows if row["price"] == price]
        x, y = [row["glimpses"] for row in own], [100 * row["accuracy"][-1] for row in own]
        axes.plot(x, y, "o", ms=4, label=f"stops, price {price} nats a glimpse")
        curve.append((np.mean(x), np.mean(y)))
    axes.plot(*zip(*curve, strict=True), "-", color="black", lw=1, label="mean over five policies of each price")
    axes.set_xlabel("mean glimpses after the first look")
    axes.set_ylabel("accuracy on test scenes (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(path, figure)


def locate_section(contents: dict[str, Any]) -> str:
    """Return the median distance by look."""
    rows = contents["locate"]
    looks = len(rows[0]["median"])
    lines = [
        line(["median distance in sides of the target", *map(str, range(looks)), "IoU"]),
        line(["---"] * (looks + 2)),
    ]
    for name in dict.fromkeys(row["agent"] for row in rows):
        own = [row for row in rows if row["agent"] == name]
        median, iou = (np.mean([row[key] for row in own], axis=0) for key in ("median", "iou"))
        lines.append(line([name, *[f"{value:.2f}" for value in median], f"{iou[-1]:.2f}"]))
    words = (
        f"By look, on {SCENES:,} test scenes of {LOCATE_CANVAS} px, means over five seeds; the IoU is the mean after "
        "the last look. The first look is wide and finds the digit among the clutter; random gaze adds nothing, a "
        "look at the digit takes off a third. The perception was trained on five looks, and after those its answer "
        "drifts."
    )
    return "\n".join(lines) + f"\n\n{words}"


def several_section(contents: dict[str, Any]) -> str:
    """Return the accuracy of the shared perception and of each question's own."""
    table = contents["multitask"]
    lines = [line(["accuracy in %", *table]), line(["---"] * (len(table) + 1))]
    for name, title in (("shared", "one perception for all: GRPO"), ("own", "a perception for each: GRPO")):
        runs = {question: contents["several"]["all" if name == "shared" else question][question] for question in table}
        cells = [f"{100 * np.mean(found):.1f} ± {100 * np.std(found, ddof=1):.1f}" for found in runs.values()]
        lines.append(line([title, *cells]))
    for name in contents["several"].get("baselines", {}).get("large", ()):
        cells = [f"{100 * contents['several']['baselines'][question][name]:.1f}" for question in table]
        lines.append(line([f"one perception for all: {name}", *cells]))
    worst = contents["multitask_worst_points"]
    verdict = (
        f"the shared perception loses at most **{worst:.1f} points**"
        if worst > 0
        else f"the shared perception is better on each, by at least **{-worst:.1f} points**"
    )
    words = (
        f"`Questions-v0`, {several.SCENES:,} test scenes of each question, {several.GLIMPSES} glimpses after the first "
        f"look, mean and standard deviation over five policies: {verdict}. It learned from "
        f"{several.STEPS * len(table):,} updates, each of the others from {several.STEPS:,}, as many for each "
        "question. Whether it is better because of three times the updates, or because one question teaches what "
        "another needs, this does not tell. All began with the features of `search`. Each policy learned from "
        f"{several.BUDGET:,} glimpses for each question, which is little for free Gaussians: on `large` they stay "
        "behind random gaze, on `count` they equal a raster. (To count, the target is the whole image, and `oracle` "
        "looks at its middle.) The first look at the centre is wide and answers most of the large digits by itself."
    )
    return "\n".join(lines) + f"\n\n{words}"


SECTIONS = {
    "ladder": ("Where is the 7? Canvases of 60 to 4,000 px", ladder_section),
    "prompts": ("Same image, other question", prompts_section),
    "stop": ("How long to look", stop_section),
    "locate": ("Where is it, and how large?", locate_section),
    "several": ("Several questions, one encoder", several_section),
}


def report(contents: dict[str, Any]) -> None:
    """Write page and plots of what was measured."""
    done = contents["commands"]
    if "ladder" in done:
        plot_ladder(DOCS / "search_ladder.png", contents)
    if "prompts" in done and policy_paths(FOLDER / "ladder" / "grpo", "grpo")[0].is_file():
        draw_prompts(DOCS / "search_prompts.png")
    if "stop" in done:
        plot_stop(DOCS / "search_stop.png", contents)
    parts = [
        f"## {title}\n\n{section(contents)}\n\n`{done[name]}` makes it again."
        for name, (title, section) in SECTIONS.items()
        if name in done
    ]
    text = "\n\n".join(parts)
    put_in(PAGE, "search", text)
    print(text)
