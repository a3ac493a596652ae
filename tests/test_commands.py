"""The commands, end to end, in a temporary folder."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import train
from foveal_agents.commands import COMMANDS, main
from foveal_env import checkpoint
from foveal_env.batch import Columns
from foveal_env.make import make_source
from foveal_env.perception import Perception

ROOT = Path(__file__).parent.parent
GRPO = ["--grpo.num_scenes", "8", "--grpo.group_size", "4", "--grpo.width", "16"]
QUICK = ["--scenes", "20", "--glimpses", "2"]
TINY = ["--multizoom.patch", "6", "--multizoom.zooms", "2", "--multizoom.width", "12", "--multizoom.depth", "1"]
SHORT = ["--steps", "2", "--batch", "4", "--glimpses", "2"]


def policy(perception, out, *more, glimpses=64):
    own = [] if "--agent" in more else GRPO
    budget = ["--train_glimpses", str(glimpses)]
    main(["policy", "--perception", perception, "--out", str(out), *budget, *QUICK, *own, *more])


def pretrain(out, *more):
    main(["pretrain", *TINY, *SHORT, "--digits.canvas", "40", "--digits.clutter", "1", "--out", str(out), *more])
    return str(out / "perception.safetensors")


def rows(out):
    return json.loads((out / "results.json").read_text())["rows"]


def spec(path):
    return checkpoint.load(path, "perception")[1]


def width(path):
    with Image.open(path) as picture:
        return picture.width


def test_policy_leaves_what_it_promises(small_perception, tmp_path, capsys):
    policy(small_perception, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["task"], results["source"], results["canvas"]) == ("classify", "digits", 40)
    assert results["perception"] == small_perception
    assert [row["agent"] for row in results["rows"]] == ["random", "centre", "raster", "oracle", "grpo"]
    for row in results["rows"]:
        assert (row["label"], row["policy"]) == (row["agent"], None)
        assert row["metrics"]["accuracy"] == row["accuracy"]
        assert len(row["accuracy"]) == len(row["loss"]) == 3
    assert len(list(csv.reader((tmp_path / "results.csv").read_text().splitlines()))) == 1 + 5 * 3
    for name in ("accuracy.png", "scan_paths.png"):
        assert width(tmp_path / name) > 300
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert checkpoint.load(tmp_path / "policy.safetensors", "policy")[1]["agent"] == "grpo"
    printed = capsys.readouterr().out
    assert "| grpo" in printed
    learned, chance, near = (100 * results["rows"][row]["accuracy"][-1] for row in (-1, 0, 3))
    assert (
        f"GRPO answers {learned:.1f} % of 20 validation scenes right after 2 glimpses; "
        f"looking at random {chance:.1f} %, looking near the known target {near:.1f} %.\n"
    ) in printed
    assert f"Files in {tmp_path}: results.json, results.csv, accuracy.png" in printed


def test_run_json_repeats_the_run(small_perception, tmp_path):
    policy(small_perception, tmp_path / "a", "--first_look", "null", "--seed", "3", "--time_left")
    main(["--config", str(tmp_path / "a" / "run.json"), "--out", str(tmp_path / "b")])
    first, second = rows(tmp_path / "a"), rows(tmp_path / "b")
    for row in first + second:
        row.pop("train_seconds")
    assert first == second
    assert first[-1]["seed"] == 3
    left, right = (checkpoint.load(tmp_path / name / "policy.safetensors", "policy") for name in "ab")
    assert all(torch.equal(left[0][name], right[0][name]) for name in right[0])
    assert left[1]["rules"]["time_left"]


def test_options_of_a_source_and_of_an_algorithm_reach_them(small_perception, tmp_path):
    options = ["--source_options", '{"clutter": 3}', "--canvas", "44", "--agent", "ppo", "--ppo.num_envs", "8"]
    policy(small_perception, tmp_path, *options, "--ppo.clip_range", "0.3")
    assert json.loads((tmp_path / "results.json").read_text())["canvas"] == 44
    saved = checkpoint.load(tmp_path / "policy.safetensors", "policy")[1]["options"]
    assert (saved["num_envs"], saved["clip_range"]) == (8, 0.3)


def test_the_main_job_takes_options_and_goes_on(small_perception, tmp_path):
    job = ["--perception", small_perception, "--out", str(tmp_path), *QUICK, *GRPO, "--baselines", "random"]
    main([*job, "--train_glimpses", "64"])
    main([*job, "--train_glimpses", "128", "--resume"])
    assert rows(tmp_path)[-1]["train_glimpses"] == 128
    assert json.loads((tmp_path / "run.json").read_text())["policy"]["reward"] == "probability"


def test_resuming_another_run_is_refused(small_perception, tmp_path):
    policy(small_perception, tmp_path, "--baselines", "random")
    with pytest.raises(SystemExit, match=r"whose reward is gain, not correct; begin a new one"):
        policy(small_perception, tmp_path, "--resume", "--reward", "correct")
    (tmp_path / "run.json").unlink()
    with pytest.raises(SystemExit, match="cannot go on: its seed is 0, not 5"):
        policy(small_perception, tmp_path, "--resume", "--seed", "5")


def test_an_agent_that_cannot_go_on_begins_again(small_perception, tmp_path, capsys):
    sac = ["--agent", "sac", "--sac.num_envs", "4", "--sac.episodes", "1", "--baselines", "random"]
    policy(small_perception, tmp_path, *sac, glimpses=8)
    policy(small_perception, tmp_path, *sac, "--resume", glimpses=16)
    assert "sac begins again, because its replay buffer was not saved" in capsys.readouterr().out
    assert rows(tmp_path)[-1]["train_glimpses"] == 16


def test_a_collapsed_policy_is_named(small_perception, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "foveal_agents.grpo.Grpo.act", lambda self, world, episode, **_: torch.ones(len(episode.glimpses), 2)
    )
    policy(small_perception, tmp_path, glimpses=1)
    assert "warning: the policy of grpo, seed 0, has collapsed: 100% of its gazes are stuck" in capsys.readouterr().out


def test_a_pretrained_perception_can_be_used_and_says_how_it_was_made(tmp_path, capsys):
    path = pretrain(tmp_path / "stage1", "--near_target", "0.5")
    pretrain(tmp_path / "stage1", "--near_target", "0.5", "--resume")  # nothing is left to do
    header = spec(path)
    assert header["source"] == "digits"
    assert header["source_options"]["canvas"] == 40
    assert not {"root", "download"} & header["source_options"].keys()
    assert (header["training"]["steps"], header["training"]["near_target"]) == (2, 0.5)
    assert header["command"].startswith("foveal pretrain")
    assert header["command"].endswith("--near_target 0.5")  # it makes it from the beginning
    assert "After 2 glimpses near the target the perception answers" in capsys.readouterr().out
    evaluate = ["evaluate", "--perception", path, "--scenes", "10", "--glimpses", "2"]
    main([*evaluate, "--baselines", "random", "spiral", "--out", str(tmp_path / "e")])
    assert [row["agent"] for row in rows(tmp_path / "e")] == ["random", "spiral"]


def test_weights_can_be_kept_in_half_the_room(tmp_path):
    whole, half = pretrain(tmp_path / "whole"), pretrain(tmp_path / "half", "--float16")
    left, right = (checkpoint.load(path, "perception")[0] for path in (whole, half))
    assert all(torch.equal(left[name].half(), right[name]) for name in left if left[name].is_floating_point())


def test_the_stages_alternate_and_the_time_adds_up(tmp_path):
    first = pretrain(tmp_path / "first")
    Perception.load(first).save(first, spent={"seconds": 100.0, "cpu_seconds": 200.0})
    policy(first, tmp_path / "policy", "--baselines", "random")
    saved = str(tmp_path / "policy" / "policy.safetensors")
    with pytest.raises(SystemExit, match="--policy needs --start"):
        pretrain(tmp_path / "second", "--policy", saved)
    second = pretrain(tmp_path / "second", "--policy", saved, "--start", first, "--policy_share", "1")
    before, after = (Perception.load(path).spec for path in (first, second))
    assert 100 <= after["spent"]["seconds"] < 200 <= after["spent"]["cpu_seconds"]
    assert after["start"] == before["command"]
    with pytest.raises(SystemExit, match=r"belongs to another perception: its encoder_config\.patch is 12, not 6"):
        pretrain(tmp_path / "third", "--policy", saved, "--start", "digits")


def test_features_of_another_task_are_taken_over(tmp_path, capsys):
    path = pretrain(tmp_path / "first")
    search = ["pretrain", "--source", "search", "--task", "search", "--search.canvas", "70", *TINY, *SHORT]
    search += ["--out", str(tmp_path / "second")]
    main([*search, "--learning_rate", "1e-12", "--features", path])
    assert "new: state_embedding, prompt.weight, prompt.bias" in capsys.readouterr().out
    before, after = (Perception.load(tmp_path / name / "perception.safetensors") for name in ("first", "second"))
    stems = [perception.encoder.state_dict() for perception in (before, after)]
    shared = [name for name in stems[0] if name.startswith("stem")]
    assert shared
    assert all(torch.allclose(stems[0][name], stems[1][name], atol=1e-6) for name in shared)
    for name in ("pixel_mean", "pixel_deviation"):
        assert before.spec["encoder_config"][name] == after.spec["encoder_config"][name]
    assert after.spec["features"] == before.spec["command"]
    search += ["--overwrite"]
    with pytest.raises(SystemExit, match="of another encoder: its depth is 1, not 2"):
        main([*search, "--multizoom.depth", "2", "--features", path])
    with pytest.raises(SystemExit, match="exclude each other"):
        main([*search, "--start", path, "--features", path])


def test_compare_trains_each_learner_with_each_seed_for_equal_glimpses(small_perception, tmp_path, capsys):
    budget = ["--seeds", "2", "--train_glimpses", "32", "--curve_points", "2", *QUICK, *GRPO]
    learners = ["--learners", "grpo", "ppo", "--ppo.num_envs", "16", "--baselines", "random", "centre"]
    compare = ["compare", "--perception", small_perception, "--out", str(tmp_path), *budget, *learners]
    main(compare)
    first = rows(tmp_path)
    names = [(row["agent"], row["seed"]) for row in first]
    assert names == [("random", 0), ("centre", 0), ("grpo", 0), ("ppo", 0), ("random", 1), ("grpo", 1), ("ppo", 1)]
    assert {row["train_glimpses"] for row in first if row["agent"] in ("grpo", "ppo")} == {64, 32}
    curve = json.loads((tmp_path / "grpo-1" / "curve.json").read_text())
    assert first[-2]["curve"] == curve
    assert first[-2]["train_cpu_seconds"] >= 0
    printed = capsys.readouterr().out
    assert "±" in printed
    assert "right after 2 glimpses (mean of 2 seeds); looking at random" in printed
    main([*compare, "--resume"])
    assert [row["accuracy"] for row in rows(tmp_path)] == [row["accuracy"] for row in first]


def trained(perception, out, *more):
    """Train a policy quickly; return its path."""
    policy(perception, out, "--baselines", "random", *more)
    return str(out / "policy.safetensors")


def test_each_policy_has_a_row_and_only_seeds_are_averaged(small_perception, tmp_path, capsys):
    changed = {"a": [], "b": ["--grpo.gamma", "0.5"], "c": [], "d": ["--seed", "1"], "e": ["--reward", "probability"]}
    paths = {name: trained(small_perception, tmp_path / name, *more) for name, more in changed.items()}
    evaluate = ["evaluate", "--perception", small_perception, "--scenes", "20", "--glimpses", "2"]
    evaluate += ["--baselines", "random", "--out", str(tmp_path / "out"), "--overwrite", "--policies"]
    capsys.readouterr()
    main([*evaluate, paths["a"], paths["b"], paths["c"]])  # a and c are of one seed: nothing is averaged
    found = rows(tmp_path / "out")
    assert [row["label"] for row in found] == ["random", paths["a"], paths["b"], paths["c"]]
    assert [row["policy"] for row in found] == [None, paths["a"], paths["b"], paths["c"]]
    assert [row["agent"] for row in found] == ["random", "grpo", "grpo", "grpo"]
    assert [row["options"].get("gamma") for row in found] == [None, 0.3, 0.5, 0.3]
    printed = capsys.readouterr().out
    for name in "abc":
        assert re.search(rf"\| {re.escape(paths[name])} +\| 1 ", printed)
    assert "±" not in printed
    main([*evaluate, paths["a"], paths["d"], paths["e"]])  # d has another seed, e another reward as well
    group = f"{paths['a']} and 1 more"
    assert [row["label"] for row in rows(tmp_path / "out")] == ["random", group, group, paths["e"]]
    assert re.search(rf"\| {re.escape(group)} +\| 2 ", capsys.readouterr().out)
    with pytest.raises(SystemExit, match="is named twice"):
        main([*evaluate, paths["a"], paths["a"]])


@pytest.mark.parametrize("words", [["--learners", "grpo", "grpo"], ["--learners", "grpo", "--baselines", "grpo"]])
def test_no_agent_is_compared_with_itself(words, small_perception, tmp_path):
    with pytest.raises(SystemExit, match="grpo is named twice"):
        main(["compare", "--perception", small_perception, "--out", str(tmp_path), *QUICK, *GRPO, *words])


def test_a_policy_is_evaluated_on_validation_scenes_unless_test_is_asked_for(small_perception, tmp_path, capsys):
    for split, words in {"validation": [], "test": ["--split", "test", "--overwrite"]}.items():
        policy(small_perception, tmp_path, "--baselines", "random", *words)
        assert json.loads((tmp_path / "results.json").read_text())["split"] == split
        assert f"Accuracy (%) after each glimpse on 20 {split} scenes" in capsys.readouterr().out


def test_a_policy_for_acting_alone_is_small(small_perception, tmp_path):
    whole = trained(small_perception, tmp_path / "a")
    small = trained(small_perception, tmp_path / "b", "--acts_only")
    assert os.path.getsize(small) < os.path.getsize(whole) / 2
    assert rows(tmp_path / "b")[-1]["train_glimpses"] == rows(tmp_path / "a")[-1]["train_glimpses"]
    policy(small_perception, tmp_path / "b", "--baselines", "random", "--acts_only", "--resume")  # it is finished
    with pytest.raises(SystemExit, match="cannot go on: it was saved for acting alone"):
        policy(small_perception, tmp_path / "b", "--resume", glimpses=1000)


def test_a_search_is_told_by_success_spl_and_glimpses(searching, tmp_path, capsys):
    options = ["--task_options", '{"tolerance": 2}']
    main(
        ["policy", "--perception", searching, "--train_glimpses", "64", "--out", str(tmp_path), *QUICK, *GRPO, *options]
    )
    results, printed = json.loads((tmp_path / "results.json").read_text()), capsys.readouterr().out
    assert list(results["metrics"]) == ["success", "spl", "glimpses"]
    for row in results["rows"]:
        assert row["metrics"]["success"] == row["accuracy"]
        assert (row["metrics"]["spl"][-1], row["metrics"]["glimpses"][-1]) == (row["spl"], row["glimpses"])
    assert "Success (%) after each glimpse on 20 validation scenes" in printed
    heads = next(line for line in printed.splitlines() if line.startswith("| agent"))
    assert re.split(r" +\| *", heads.strip("| "))[-3:] == ["SPL (%)", "glimpses", "train s"]
    assert re.search(r"GRPO on 20 validation scenes after at most 2 glimpses: success [\d.]+ %, SPL ", printed)
    assert "ccuracy" not in printed.replace("accuracy.png", "")
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == "label,agent,seed,train_glimpses,train_seconds,glimpse,success,spl,glimpses,loss"


REGRESSION = """
from foveal_env.data import Outcome
from foveal_env.tasks.base import Task, two_layers


class Brightness(Task):
    def __init__(self, state_shape):
        super().__init__()
        self.read = two_layers(state_shape, hidden=8, size=1)

    def forward(self, state):
        return self.read(state)[:, 0]

    def score(self, answer, scenes):
        truth = scenes.label.float() / 10
        off = (answer - truth).abs()
        return Outcome(off, 1 / (1 + off), off < 0.1, answer)

    def info(self, episode):
        return {"off": episode.outcome.loss}

    @staticmethod
    def config_for(source):
        return {}
"""


@pytest.fixture
def regressing(tmp_path, monkeypatch):
    """The path of a perception whose task is a regression of one's own."""
    (tmp_path / "regression.py").write_text(REGRESSION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    pretrain(tmp_path / "perception", "--task", "regression:Brightness")
    return str(tmp_path / "perception" / "perception.safetensors")


def test_a_regression_of_ones_own_is_told_by_its_own_figures(regressing, tmp_path, capsys):
    policy(regressing, tmp_path / "out", "--baselines", "random")
    printed = capsys.readouterr().out
    assert "Score (%) after each glimpse" in printed
    assert re.search(r"\| right answers \(%\) \| off +\| train s", printed)
    assert "ccuracy" not in printed.replace("accuracy.png", "")
    row = rows(tmp_path / "out")[-1]
    assert row["metrics"]["off"] == row["loss"]


@pytest.mark.parametrize(
    ("task", "titles"),
    [
        ("locate", ["Distance (sides of the target)", "IoU"]),
        ("reconstruct", ["Explained variance (%)"]),
        ("point", ["Distance (sides of the target)", "Within 0.5 sides of the target (%)"]),
        ("several", ["Large: accuracy (%)", "Where: success (%)", "Count: accuracy (%)"]),
    ],
)
def test_every_task_is_told_by_its_own_figures(task, titles, tmp_path, tiny, capsys):
    name, options = ("questions", {"canvas": 180}) if task == "several" else ("digits", {"canvas": 40})
    perception = Perception.build(make_source(name, "train", **options), task=task, **tiny)
    perception.save(tmp_path / "p.safetensors", source=name, source_options=options)
    evaluate = ["evaluate", "--perception", str(tmp_path / "p.safetensors"), "--scenes", "30", "--glimpses", "2"]
    main([*evaluate, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    told = re.findall("^(.*) after each glimpse on 30 test scenes", printed, re.MULTILINE)
    assert told == titles
    assert ("| oracle" in printed) == (task != "reconstruct")  # to know the target is no bound of the whole image


def test_a_policy_that_beats_a_bound_is_named_with_the_reason(small_perception, tmp_path, capsys, monkeypatch):
    def sees_the_truth(world, episodes):
        looks = torch.stack([(episode.gazes[:, -1, 0] < 1).double() for episode in episodes], dim=1)
        return Columns({"accuracy": looks})

    monkeypatch.setattr(
        "foveal_agents.scripted.Oracle.act", lambda self, world, episode, **_: torch.ones(len(episode.glimpses), 2)
    )
    monkeypatch.setattr("foveal_agents.rollout._figures", sees_the_truth)
    policy(small_perception, tmp_path)
    printed = capsys.readouterr().out
    assert re.search(r"grpo is better than oracle \(accuracy 100.0 against 0.0 %\): it draws each gaze near", printed)
    assert "deviation of 0.15 sides" in printed
    assert json.loads((tmp_path / "results.json").read_text())["notes"][0] in printed


def picture(folder, name="wide.png"):
    Image.linear_gradient("L").resize((300, 90)).save(folder / name)
    return str(folder / name)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--perception", "search", "--question", "7"], r"asked 7, the answer is at \(-?\d+, -?\d+\) px"),
        (
            ["--perception", "questions", "--question", "where", "3"],
            r"asked where 3, the answer is at \(-?\d+, -?\d+\)",
        ),
        (["--perception", "questions", "--question", "count 3"], r"asked count 3, the answer is [0-3];"),
        (["--perception", "questions", "--question", "large"], r"asked large, the answer is \d;"),
        (["--perception", "locate"], r": the answer is a box of \d+ x \d+ px around \(-?\d+, -?\d+\) px"),
        (["--perception", "reconstruct"], r": the answer is the image beside the drawing"),
        ([], r": the answer is \d;"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_show_answers_every_task_with_the_shipped_policy(words, answer, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["show", picture(tmp_path), *words])
    assert re.search(answer, capsys.readouterr().out)
    assert width(tmp_path / "runs" / "show" / "scan-0-wide.png") > 200


def test_show_says_the_numbers_of_a_regression_of_ones_own(regressing, tmp_path, capsys):
    main(["show", picture(tmp_path), "--perception", regressing, "--agent", "spiral", "--out", str(tmp_path / "out")])
    assert re.search(r"the answer is -?\d+\.\d+", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--perception", "search"], "--question: say what is asked; known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["--perception", "search", "--question", "cat"], "--question: unknown 'cat'; known: 0, 1"),
        (["--perception", "search", "--question", "3", "4"], "--question 3 4: it must be one of 0, 1"),
        (["--perception", "questions", "--question", "3"], "--question 3: it must be one of large, where, count, and"),
        (["--perception", "questions", "--question", "where"], "--question where: 'where' needs one class: 0, 1"),
        (["--perception", "questions", "--question", "large 3"], "--question large 3: 'large' takes no class"),
        (["--question", "3"], "this perception is asked nothing (classify): leave out --question"),
        (["--perception", "locate", "--policy", "digits"], "was trained on perception="),
        (["--perception", "locate", "--agent", "oracle"], "needs a source that knows where the target is"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_show_says_which_questions_there_are(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["show", picture(tmp_path), *words])
    assert message in str(stop.value)


def test_show_refuses_prompts_that_are_pictures(tmp_path, tiny):
    options = {"canvas": 70, "candidates": 3, "prompt": "example"}
    perception = Perception.build(make_source("search", "train", **options), task="search", **tiny)
    perception.save(tmp_path / "p.safetensors", source="search", source_options=options)
    with pytest.raises(SystemExit, match="asked with an example of 14 x 14 px, which --question cannot give"):
        main(["show", picture(tmp_path), "--perception", str(tmp_path / "p.safetensors"), "--agent", "spiral"])


def test_show_draws_images_of_any_size(small_perception, tmp_path, capsys):
    Image.linear_gradient("L").resize((300, 90)).save(tmp_path / "wide.png")
    Image.new("RGB", (31, 64), "white").save(tmp_path / "tall.jpg")
    common = ["show", str(tmp_path / "wide.png"), str(tmp_path / "tall.jpg")]
    common += ["--perception", small_perception, "--out", str(tmp_path / "out")]
    main([*common, "--agent", "spiral"])
    assert width(tmp_path / "out" / "scan-0-wide.png") > 200
    assert width(tmp_path / "out" / "scan-1-tall.png") > 200
    assert capsys.readouterr().out.count("the answer is") == 2


def test_show_looks_by_the_rules_of_the_policy(small_perception, tmp_path, capsys):
    policy(small_perception, tmp_path / "trained", "--stop", "--zoom", "--time_left", "--baselines", "random")
    Image.linear_gradient("L").save(tmp_path / "a.png")
    saved = str(tmp_path / "trained" / "policy.safetensors")
    main(["show", str(tmp_path / "a.png"), "--perception", small_perception, "--policy", saved, "--out", str(tmp_path)])
    assert "the answer is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["policy", "--agent", "nope"], "unknown agent 'nope'; known: a2c"),
        (["pretrain", "--source", "nope"], "unknown source 'nope'; known: cifar10"),
        (["pretrain", "--encoder", "nope"], "unknown encoder 'nope'; known: gru"),
        (["pretrain", "--task", "nope"], "unknown task 'nope'; known: classify"),
        (["policy", "--perception", "nope"], "unknown perception 'nope'; known: "),
        (["policy", "--reward", "nope"], "unknown reward 'nope'; known: gain, probability, correct"),
        (["policy", "--glimpses", "many"], "glimpses"),
        (["policy", "--glimpses", "0"], "glimpses must be at least 1"),
        (["show", "/no/such.png", "--agent", "spiral"], "/no/such.png"),
        (["show", "x.png", "--policy", "none.safetensors"], "no policy at none.safetensors: run the main job first"),
        (["policy", "--resume"], "no such checkpoint"),
        (["policy", "--device", "nope"], "unknown device 'nope'"),
        (["policy", "--device", "meta"], "device 'meta' cannot be used here"),
        (["policy", "--source_options", '{"cluttr": 3}'], "source 'digits': no option 'cluttr'; known: split, canvas"),
        (["policy", "--agent", "ppo", "--ppo.clip_rang", "1"], "agent 'ppo': no option 'clip_rang'; known: num_envs"),
        (["policy", "--scenes", "0"], "scenes must be at least 1"),
        (["policy", "--train_glimpses", "0"], "train_glimpses must be at least 1"),
        (["compare", "--seeds", "0"], "seeds must be at least 1"),
        (["evaluate", "--policies", "none.safetensors"], "no such checkpoint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line_that_names_the_choices(arguments, message, small_perception, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if arguments[0] != "pretrain" and "--perception" not in arguments:
        arguments = [*arguments, "--perception", small_perception]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert str(stop.value).startswith("foveal: error: ")
    assert "\n" not in str(stop.value)
    assert message in str(stop.value)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_says_what_every_option_means(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--device", "--out"):
        assert option in text
    for entry in text.split("\n  -")[1:]:
        meaning = re.sub(r"^.*?  ", "", entry.partition("(type: ")[0], count=1, flags=re.DOTALL)
        assert len(re.findall(r"[a-z]{2,}", meaning)) >= 2, entry
    assert ("--split" in text) == (command in ("policy", "evaluate", "compare"))


@pytest.mark.parametrize(
    ("program", "typed", "name"),
    [(main, "foveal", "foveal"), (train.main, "python train.py", "train.py")],
    ids=["foveal", "train.py"],
)
def test_the_program_is_called_as_it_was_typed(program, typed, name, small_perception, tmp_path, capsys):
    evaluate = ["evaluate", "--perception", small_perception, "--scenes", "5", "--baselines", "random"]
    program([*evaluate, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "results.json").read_text())["command"].startswith(f"{typed} evaluate --perception")
    with pytest.raises(SystemExit, match=f"^{name}: error: unknown command 'polcy'"):
        program(["polcy"])
    capsys.readouterr()
    program(["--help"])
    overview = capsys.readouterr().out
    assert f"usage: {typed} [COMMAND]" in overview
    assert all(command in overview for command in COMMANDS)
    with pytest.raises(SystemExit):
        program(["show", "--help"])
    assert f"usage: {name} show" in capsys.readouterr().out


MYNET = '''
import torch
from foveal_encoders.base import Encoder, Inputs, Layout


class Net(Encoder):
    """The mean of what was seen.

    Args:
        gain: factor of each glimpse.
    """

    def __init__(self, inputs: Inputs = Inputs(), layout: Layout = Layout(), *, gain: float = 1.0):
        super().__init__(inputs, layout)
        self.state_shape, self.gain = (1, 8), gain
        self.embed = torch.nn.Linear(layout.pixels * inputs.channels, 8)

    def step(self, state, glimpse):
        return state + self.gain * self.embed(glimpse.patches.flatten(1))[:, None]
'''


@pytest.mark.parametrize("program", ["foveal", "train.py"])
def test_a_plug_in_is_found_in_the_current_folder(program, tmp_path):
    work, elsewhere = tmp_path / "work", tmp_path / "bin" / "foveal"
    work.mkdir()
    elsewhere.parent.mkdir()
    (work / "mynet.py").write_text(MYNET)
    elsewhere.write_text("from foveal_agents.commands import main\n\nmain()\n")  # what pip makes of the entry point
    script = ROOT / "train.py" if program == "train.py" else elsewhere
    arguments = ["pretrain", "--encoder", "mynet:Net", "--net.gain", "0.5", "--net.patch", "4", *SHORT, "--out", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = [sys.executable, str(script), *arguments, *(["--help"] if program == "foveal" else [])]
    run = subprocess.run(call, cwd=work, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    if program == "foveal":
        assert run.stdout.startswith("usage: foveal pretrain")
        assert "--net.gain" in run.stdout
        return
    header = spec(work / "out" / "perception.safetensors")
    assert header["encoder"] == "mynet:Net"
    assert (header["encoder_config"]["gain"], header["encoder_config"]["patch"]) == (0.5, 4)
    assert header["command"].startswith("python train.py pretrain")


def test_a_source_and_a_task_of_ones_own_are_named_like_an_encoder(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from foveal_env.sources import SOURCES\nfrom foveal_env.tasks import TASKS\n\n\n"
        "class Bits(SOURCES.resolve('digits')):\n    pass\n\n\n"
        "class Sort(TASKS.resolve('classify')):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = ["--source", "own:Bits", "--bits.canvas", "40", "--task", "own:Sort"]
    main(["pretrain", *own, *TINY, *SHORT, "--out", "out"])
    header = spec(tmp_path / "out" / "perception.safetensors")
    assert (header["source"], header["task"]) == ("own:Bits", "own:Sort")
    assert header["source_options"]["canvas"] == 40
