"""Figures: what they say, that axes and drawings are whole, and that an episode is a GIF."""

import importlib.util
from importlib.metadata import version
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from foveal_agents import plots
from foveal_agents.base import Agent, make_agent
from foveal_agents.rollout import evaluate
from foveal_agents.sheets import DPI, Panel, legend, pixels_of, sheet
from foveal_env import IDS, render
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.world import Rules, World

DOCS = Path(__file__).parent.parent / "docs"


def texts(figure):
    return [text.get_text() for text in figure.texts if text.get_text()]


def labels(figure):
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def contents(**accuracy):
    """Return the contents of a results.json with a row for each list of accuracies."""
    rows = [{"agent": agent, "accuracy": run} for agent, runs in accuracy.items() for run in runs]
    return {
        **{"task": "classify", "source": "digits", "canvas": 140, "split": "test", "scenes": 1800, "glimpses": 2},
        "rows": rows,
    }


@pytest.fixture
def figure_of(monkeypatch):
    """Return the figure that `plot_accuracy` would write."""

    def plotted(**accuracy):
        kept = []
        monkeypatch.setattr(plots, "save_figure", lambda path, figure: kept.append(figure))
        plots.plot_accuracy(Path("accuracy.png"), contents(**accuracy))
        return kept[0]

    return plotted


@pytest.mark.parametrize("lowest", [0.0, 0.123, 0.45, 0.58, 0.97, 1.0])
def test_the_axis_of_accuracy_ends_at_100_and_nothing_touches_its_frame(figure_of, lowest):
    axes = figure_of(grpo=[[lowest, 1.0, 1.0]]).axes[0]
    low, high = axes.get_ylim()
    assert axes.get_yticks()[-1] == 100
    assert low < 100 * lowest
    assert 100 < high < 105
    assert axes.get_ylabel() == "accuracy (%)"


def test_learned_policies_are_solid_baselines_dashed_and_bounds_dotted(figure_of):
    axes = figure_of(grpo=[[0.5, 0.6, 0.7]], random=[[0.5, 0.5, 0.5]], oracle=[[0.5, 0.9, 0.9]]).axes[0]
    found = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert found == {"oracle": ":", "GRPO": "-", "random": "--"}  # in the order of the last values


def test_the_legend_says_what_the_band_is_if_there_is_one(figure_of):
    several = labels(figure_of(grpo=[[0.5, 0.6, 0.7], [0.5, 0.7, 0.8]]))
    assert several == ["GRPO (2 seeds)", "band: 95 % interval\nover seeds"]
    assert labels(figure_of(grpo=[[0.5, 0.6, 0.7]])) == ["GRPO"]


def test_a_band_stays_between_0_and_100(figure_of):
    band = figure_of(grpo=[[0.0, 0.5, 1.0], [0.1, 0.9, 0.9]]).axes[0].collections[0]
    reached = band.get_paths()[0].vertices[:, 1]
    assert reached.min() >= 0
    assert reached.max() <= 100


def test_an_agent_has_one_colour_in_every_plot():
    assert plots.line_style("grpo")["color"] != plots.line_style("ppo")["color"]
    assert plots.line_style("my_module:Mine") == plots.line_style("my_module:Mine")


@pytest.mark.parametrize(
    ("correct", "look"),
    [("xxx", 0), (".xx", 1), ("x.x", 2), ("xx.", None), ("...", None)],
)
def test_right_from_the_look_after_the_last_wrong_one(correct, look):
    assert plots.first_right(torch.tensor([letter == "x" for letter in correct])) == look


@pytest.mark.parametrize(("name", "seed"), [("random", ", seed 3"), ("spiral", "")])
def test_scan_paths_say_agent_seed_split_and_verdicts(small_perception, name, seed):
    world = make_world(perception=small_perception, glimpses=2, split="validation")
    agent = make_agent(name, world, seed=3)
    evaluation = evaluate(world, agent, scenes=6)
    title, *panels = texts(plots.scan_paths(world, evaluation, range(6), agent=agent))
    assert title == f"{name}{seed}, validation scenes"
    for row, words in enumerate(panels):
        truth = world.truth_text(world.scenes(torch.tensor([row])), 0)
        first = plots.first_right(evaluation.correct[row])
        verdict = f"right from look {first}" if first is not None else f"wrong, answers {evaluation.prediction[row]}"
        assert words.replace(plots.UNBROKEN, " ") == f"{truth}: {verdict}"


def test_a_search_asks_and_the_drawing_answers(searching):
    world = make_world(perception=searching, glimpses=2, split="test")
    evaluation = evaluate(world, make_agent("random", world), scenes=2)
    figure = plots.scan_paths(world, evaluation, range(2))
    assert texts(figure)[0] == "test scenes"
    assert all(words.startswith("where is the ") for words in texts(figure)[1:])
    assert labels(figure) == ["path", "last gaze", "windows of the last glimpse", "truth", "answer"]


def test_an_answer_that_is_an_image_stands_beside_and_the_scene_is_its_truth(tiny):
    source = make_source("digits", "test", canvas=40)
    world = World(source, Perception.build(source, task="reconstruct", **tiny).frozen(), Rules(glimpses=2))
    evaluation = evaluate(world, make_agent("random", world), scenes=2)
    figure = plots.scan_paths(world, evaluation, range(2), columns=4)
    assert labels(figure) == ["path", "last gaze", "windows of the last glimpse", "answer"]
    assert all(axes.get_window_extent().width > 1.9 * axes.get_window_extent().height for axes in figure.axes)


def test_words_do_not_judge_if_the_truth_is_not_known(small_world):
    agent = make_agent("random", small_world)
    evaluation = evaluate(small_world, agent, scenes=1)
    figure = plots.scan_paths(small_world, evaluation, [0], agent=agent, columns=1, truth_known=False)
    assert texts(figure) == ["random, seed 0", f"answers {int(evaluation.prediction[0])}"]


@pytest.mark.skipif(
    tuple(map(int, version("matplotlib").split(".")[:2])) < (3, 11),
    reason="did not run: older matplotlib resamples by 1/100 px",
)
@pytest.mark.parametrize("sizes", [[(40, 60)], [(91, 33), (20, 333), (64, 64)]], ids=["one", "mixed"])
def test_a_sheet_keeps_the_pixels_of_its_drawings(sizes):
    generator = np.random.default_rng(0)
    images = [generator.integers(200, size=(*size, 3), dtype=np.uint8) for size in sizes]
    for number, image in enumerate(images):
        image[0, 0] = (201, 202, 203 + number)
    whole = pixels_of(sheet([Panel(image, "above", "below", marks=("path",)) for image in images], columns=2))
    for image in images:
        [(top, left)] = np.argwhere((whole == image[0, 0]).all(axis=-1))
        assert np.array_equal(whole[top : top + image.shape[0], left : left + image.shape[1]], image)


def test_words_and_legend_of_a_sheet_overlap_nothing():
    image = np.zeros((100, 120, 3), np.uint8)
    panels = [Panel(image, "a question that is longer than the drawing is wide", "below", marks=tuple(legend()))] * 5
    figure = sheet(panels, columns=3, title="a title")
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [box.get_window_extent() for box in (*figure.axes, *figure.legends)]
    inside = figure.bbox
    for number, box in enumerate(boxes):
        assert box.x0 >= inside.x0 - 1
        assert box.x1 <= inside.x1 + 1
        assert box.y0 >= inside.y0 - 1
        assert box.y1 <= inside.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    plots.save_figure(path, matplotlib.figure.Figure((2, 1)))
    with Image.open(path) as image:
        assert image.size == (2 * DPI, DPI)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        plots.save_figure(path, matplotlib.figure.Figure((3, 1)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Stops(Agent):
    """Looks once, and stops."""

    def act(self, world, episode, *, generator, greedy):
        stop = 2.0 * (episode.glimpses > 0) - 1
        return torch.stack([stop * 0, stop * 0, stop], dim=1)


@pytest.mark.parametrize(
    ("rules", "agent", "frames"),
    [({}, "random", 5), ({"first_look": None}, "random", 5), ({"stop": True}, f"{__name__}:Stops", 2)],
    ids=["all glimpses", "no first look", "stops"],
)
def test_a_gif_has_a_frame_for_each_look(small_perception, tmp_path, rules, agent, frames):
    world = make_world(perception=small_perception, glimpses=4, **rules)
    path = tmp_path / "new" / "episode.gif"
    plots.episode_gif(path, world, make_agent(agent, world), 7, room=200, seconds=0.1)
    with Image.open(path) as image:
        shown = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
        last = np.asarray(image.convert("RGB"))
    assert shown == [100] * (frames - 1) + [400]
    assert list(path.parent.iterdir()) == [path]
    for colour in (render.PATH, render.LAST, render.WINDOW, render.TRUTH, (255, 255, 255)):
        assert (last == np.array(colour)).all(axis=-1).any()


def test_every_environment_has_its_gif():
    spec = importlib.util.spec_from_file_location("make_gifs", DOCS / "make_gifs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {f"foveal_env/{name}" for name in module.EPISODES} == set(IDS)
    for name in module.EPISODES:
        assert (module.FOLDER / f"{name}.gif").stat().st_size < 400_000
