"""Pictures of what agents do: accuracy against glimpses, sheets of scan paths, and episodes that move."""

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from foveal_agents.base import Agent
from foveal_agents.results import label_of, metrics_of, summarise
from foveal_agents.rollout import Evaluation, rollout
from foveal_agents.sheets import BLACK, DPI, RED, Panel, aspect, panel, pixels_of, sheet
from foveal_env.checkpoint import write_atomically
from foveal_env.data import Episode, Scenes
from foveal_env.render import ANSWER, LAST, PATH, TRUTH, WINDOW, is_point
from foveal_env.tasks.base import Metric
from foveal_env.world import World

BASELINES = (
    "random",
    "centre",
    "raster",
    "spiral",
    "saliency",
    "most_likely",
    "entropy_limit",
    "oracle",
    "greedy_oracle",
)
BOUNDS = ("oracle", "greedy_oracle")  # know the target
ACRONYMS = ("grpo", "ppo", "a2c", "sac", "td3")
COLOURS = {  # one colour an agent in every plot; Okabe and Ito's, then others
    "grpo": "#0072b2",
    "ppo": "#d55e00",
    "a2c": "#009e73",
    "sac": "#cc79a7",
    "td3": "#332288",
    "random": "#7f7f7f",
    "centre": "#b5a642",
    "raster": "#e69f00",
    "spiral": "#56b4e9",
    "saliency": "#8c564b",
    "most_likely": "#e377c2",
    "entropy_limit": "#9467bd",
    "oracle": "#000000",
    "greedy_oracle": "#5a5a9f",
}
IN_TURN = ("#882255", "#44aa99", "#aa4466", "#117733", "#0072b2", "#d55e00", "#999933", "#332288")  # of other names
SHOWN = 8  # scenes of a figure of scan paths
NEAR = 8  # of 255
NUMBERS = 8  # of an answer that is neither a class nor a place, at most as many are said
UNBROKEN = "\N{NO-BREAK SPACE}"


def plot_accuracy(path: Path, contents: dict[str, Any]) -> None:
    """Plot what the task is measured by against looks, with 95 % intervals over seeds; each figure has its own axes.

    Args:
        path: PNG file to write.
        contents: those of results.json (`foveal_agents.results.results`).
    """
    metrics = {name: metric for name, metric in metrics_of(contents).items() if metric.by_look}
    width = 2.4 + 6.0 * len(metrics) / (1 + 0.3 * (len(metrics) - 1))
    figure = matplotlib.figure.Figure((width, 4.5), dpi=DPI, layout="constrained")
    beside = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, (name, metric) in zip(beside, metrics.items(), strict=True):
        _plot_metric(axes, contents, name, metric)
    size = "" if contents["canvas"] is None else f", {contents['canvas']} px canvas"
    title = f"{contents['task']}, {contents['source']}{size}, {contents['scenes']:,} {contents['split']} scenes"
    beside[0].set_title(title, fontsize=10) if len(beside) == 1 else figure.suptitle(title, fontsize=10)
    handles = beside[0].get_legend_handles_labels()[0]
    if any(count > 1 for _, _, count in summarise(contents["rows"]).values()):
        handles.append(Patch(color="grey", alpha=0.3, linewidth=0, label="band: 95 % interval\nover seeds"))
    figure.legend(handles=handles, loc="outside right center", fontsize=9, frameon=False, handlelength=3)
    save_figure(path, figure)


def _plot_metric(axes: Any, contents: dict[str, Any], name: str, metric: Metric) -> None:
    """Plot one figure against looks; the lines are in the order of the last values."""
    summary, styles = summarise(contents["rows"], name), line_styles(contents["rows"])
    is_share = metric.unit == "%" and all((mean >= 0).all() for mean, _, _ in summary.values())
    best_first = sorted(summary.items(), key=lambda entry: (-1) ** (not metric.falls) * entry[1][0][-1])
    for label, (mean, half, count) in best_first:
        said = styles[label]["label"] + (f" ({count} seeds)" if count > 1 else "")
        style = {**styles[label], "label": said}
        axes.plot(range(len(mean)), metric.scale * mean, marker="o", markersize=4, **style)
        low, high = metric.scale * (mean - half), metric.scale * (mean + half)
        if is_share:
            low, high = low.clip(0, 100), high.clip(0, 100)
        axes.fill_between(range(len(mean)), low, high, color=style["color"], alpha=0.18, linewidth=0)
    if is_share:
        percent_axis(axes, lowest=min(100 * (mean - half).min() for mean, half, _ in summary.values()))
    axes.set_ylabel(metric.heading)
    axes.grid(alpha=0.3)
    axes.set_xticks(range(contents["glimpses"] + 1))
    axes.set_xlabel("glimpses after the first look")


def line_styles(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return how the line of each label is drawn, and what the legend calls it; loaded policies take turns."""
    styles: dict[str, dict[str, Any]] = {}
    for entry in rows:
        label, turn = label_of(entry), len(styles) % len(IN_TURN)
        if label == entry["agent"]:
            styles.setdefault(label, {**line_style(label), "label": spoken(label)})
        else:
            styles.setdefault(label, {**line_style(label), "color": IN_TURN[turn], "label": shortened(label)})
    return styles


def line_style(name: str) -> dict[str, Any]:
    """Return how the line of an agent is drawn: solid if it learns, a baseline dashed, a bound dotted."""
    kind, width = (":", 1.8) if name in BOUNDS else ("--", 1.4) if name in BASELINES else ("-", 2.2)
    other = IN_TURN[sum(map(ord, name)) % 4]
    return {"color": COLOURS.get(name, other), "linestyle": kind, "linewidth": width}


def shortened(label: str, *, longest: int = 30) -> str:
    """Return a label without what all paths end in, and without its beginning if it is long."""
    label = label.removesuffix("/policy.safetensors")
    return label if len(label) <= longest else f"\N{HORIZONTAL ELLIPSIS}{label[1 - longest :]}"


def percent_axis(axes: Any, *, lowest: float) -> None:
    """Let the y axis end at 100 %; a margin keeps the lines off the frame. `lowest` is the lowest value shown, in %."""
    step = 10 if lowest > 40 else 20
    bottom = min(80, max(0, int(lowest // step) * step))
    margin = 0.03 * (100 - bottom)
    axes.set_ylim(bottom - margin, 100 + margin)
    axes.set_yticks(range(bottom, 101, step))


def spoken(name: str) -> str:
    """Return the name of an agent as a figure says it: algorithms in capitals, of "module:Class" the class."""
    return name.upper() if name in ACRONYMS else name.rpartition(":")[2].replace("_", " ")


def scan_paths(
    world: World,
    evaluation: Evaluation,
    rows: Sequence[int],
    *,
    agent: Agent | None = None,
    columns: int = 4,
    truth_known: bool = True,
    width: float = 2.6,
) -> matplotlib.figure.Figure:
    """Return a figure of the scan paths of some rows of an evaluation, each with the truth and the answer.

    Args:
        world: world of the evaluation.
        evaluation: what an agent did.
        rows: which of its scenes are shown.
        agent: that agent, for the title.
        columns: drawings beside each other, if they are no wider than high; fewer of wide ones.
        truth_known: whether the words say if the answers are right.
        width: room for a drawing in inches.
    """
    scenes = world.scenes(evaluation.index[list(rows)])
    widest = max(aspect(world, scenes, place, evaluation.prediction[row]) for place, row in enumerate(rows))
    beside = max(1, round(columns / max(1.0, widest)))
    panels = []
    for place, row in enumerate(rows):
        prediction, first = evaluation.prediction[row], first_right(evaluation.correct[row])
        room = round(width * DPI * columns / beside)
        drawn = panel(world, scenes, place, evaluation.gazes[row], prediction, room=room)
        answer = answer_in_words(world, scenes, place, prediction, is_drawn=True)
        if truth_known:
            asked = _asked(world, scenes, place, answer)
            verdict = _verdict(first is not None, answer) + ("" if first is None else f" from look {first}")
            above = f"{asked} {verdict.replace(' ', UNBROKEN)}"
            drawn = replace(drawn, above=above, colour=RED if first is None else BLACK)
        else:
            asked = world.question_text(scenes, place)
            drawn = replace(drawn, above=": ".join(part for part in (asked, answer and f"answers {answer}") if part))
        panels.append(drawn)
    return sheet(panels, columns=beside, title=_title(agent, f"{world.source.split} scenes" if truth_known else ""))


def first_scan_paths(world: World, evaluation: Evaluation, agent: Agent) -> matplotlib.figure.Figure:
    """Return a figure of an agent's paths in the first SHOWN scenes that it was evaluated on."""
    return scan_paths(world, evaluation, range(min(SHOWN, len(evaluation.index))), agent=agent)


def answer_in_words(world: World, scenes: Scenes, row: int, prediction: Tensor, *, is_drawn: bool = False) -> str:
    """Return the answer to a scene in words, whatever it is: a name, places in px, an image, or numbers.

    Args:
        world: world of the scenes.
        scenes: B scenes.
        row: which of them.
        prediction: [...] the answer.
        is_drawn: whether the words stand above a drawing: "" for what is drawn there.
    """
    text = world.answer_text(scenes, row, prediction)
    marks = world.marks(scenes, row, prediction)
    if text or (is_drawn and (marks["answer_image"] is not None or len(marks["answer"]))):
        return text
    if marks["answer_image"] is not None:
        return "the image beside the drawing"
    half = scenes.images.size[row].flip(0).cpu().numpy() / 2  # (width, height)
    places = [(half * (box[:2] + 1), half * box[2:], is_point(box)) for box in marks["answer"]]
    words = [
        f"at ({x:.0f}, {y:.0f}) px" if point else f"a box of {wide:.0f} x {high:.0f} px around ({x:.0f}, {y:.0f}) px"
        for (x, y), (wide, high), point in places
    ]
    numbers = [f"{number:.4g}" for number in prediction.flatten().tolist()]
    return " and ".join(words) or ", ".join(numbers[:NUMBERS]) + (", ..." if len(numbers) > NUMBERS else "")


@torch.no_grad()
def episode_gif(
    path: str | os.PathLike,
    world: World,
    agent: Agent,
    scene: int,
    *,
    title: str | None = None,
    seed: int = 0,
    room: int = 400,
    seconds: float = 0.8,
) -> None:
    """Write one episode as a GIF that repeats: a frame a look, with its windows, the path so far and the answer.

    Args:
        path: file to write.
        world: world of the episode.
        agent: the agent that looks, greedily.
        scene: index of the scene in the world's split.
        title: words on top; by default the agent, its seed and the split.
        seed: seed of an agent that draws its gaze.
        room: width of a drawing in px; half as much again if the image is wide.
        seconds: time that a look is shown; the last one is shown four times as long.
    """
    generator = torch.Generator().manual_seed(seed)
    scenes = world.scenes(torch.tensor([scene]))
    episodes = [world.start(scenes)]
    for step in rollout(world, agent, episodes[0], generator=generator, greedy=True):
        episodes += [step.after] if step.after.glimpses > step.before.glimpses else []
    title = _title(agent, f"{world.source.split} scene {scene}") if title is None else title
    wide = aspect(world, scenes, 0, episodes[0].outcome.prediction[0])
    room = round(room * min(1.5, max(1.0, wide)))
    frames = [
        Image.fromarray(pixels_of(sheet([_frame(world, episode, room)], columns=1, title=title)))
        for episode in episodes
    ]
    colours = _palette(frames)
    first, *others = [frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in frames]
    shown = [round(1000 * seconds)] * len(others) + [round(4000 * seconds)]
    data = io.BytesIO()
    first.save(data, format="gif", save_all=True, append_images=others, duration=shown, loop=0, optimize=True)
    write_atomically(path, data.getvalue())


def _frame(world: World, episode: Episode, room: int) -> Panel:
    """Return an episode under way as a panel; it is a batch of one."""
    scenes, prediction, look = episode.scenes, episode.outcome.prediction[0], int(episode.glimpses)
    answer, verdict = world.answer_text(scenes, 0, prediction), "right" if episode.outcome.correct else "wrong"
    question, truth = world.question_text(scenes, 0), world.truth_text(scenes, 0)
    above = " ".join(part for part in (question, f"truth: {truth}" if answer else "") if part)
    when = f"look {look} of {world.rules.glimpses}" if look or world.rules.first_look else "before the first look"
    below = f"{when}: answers {answer}, {verdict}" if answer else f"{when}: {verdict}"
    drawn = panel(world, scenes, 0, episode.gazes[0], prediction, room=room)
    return replace(drawn, above=above, below=below)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Return one palette for all frames: the colours of the marks, and the rest of it for everything else.

    A colour counts once, however many pixels have it: the rims of thin lines would be grey otherwise. Pillow maps
    colours to a palette within NEAR, so that none but a mark's own may be that near to it.
    """
    marks = np.array([(0, 0, 0), (255, 255, 255), PATH, LAST, WINDOW, TRUTH, ANSWER])
    colours = _different(np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames]))
    reduced = Image.fromarray(colours[None].astype(np.uint8)).quantize(256 - len(marks)).convert("RGB")
    others = _different(np.asarray(reduced)[0])
    is_own = np.abs(others[:, None] - marks).max(axis=-1).min(axis=-1) > NEAR
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([marks, others[is_own]]).flatten().tolist())
    return palette


def _different(colours: np.ndarray) -> np.ndarray:
    """Return colours [N, 3] once each, as int64."""
    numbers = np.unique(colours.astype(np.int64) @ (1 << 16, 1 << 8, 1))
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1)


def _asked(world: World, scenes: Scenes, row: int, answer: str) -> str:
    """Return the question of a scene, if there is more than one, and the truth, if the picture does not show it."""
    question, truth = world.question_text(scenes, row), world.truth_text(scenes, row)
    if question and not answer:
        return question
    return f"{question} {truth}:".lstrip()


def _verdict(is_right: bool, answer: str) -> str:
    """Return in words what an answer is worth; a wrong one is said, unless the picture shows it."""
    if is_right:
        return "right"
    return f"wrong, answers {answer}" if answer else "wrong"


def _title(agent: Agent | None, scenes: str) -> str:
    if agent is None:
        return scenes
    seed = f"seed {agent.seed}" if agent.is_trainable or agent.is_stochastic else ""
    return ", ".join(part for part in (spoken(agent.name), seed, scenes) if part)


def first_right(correct: Tensor) -> int | None:
    """Return the look from which on the answers [1 + T] bool stayed right, or None if the last one was wrong."""
    wrong = (~correct).nonzero().flatten()
    if len(wrong) and int(wrong[-1]) == len(correct) - 1:
        return None
    return int(wrong[-1]) + 1 if len(wrong) else 0


def save_figure(path: str | os.PathLike, figure: matplotlib.figure.Figure) -> None:
    """Write a figure as PNG, atomically."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=DPI)
    write_atomically(path, data.getvalue())
