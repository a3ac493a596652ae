"""The command line, end to end, in a temporary folder."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import train
from foveal_env import checkpoint
from foveal_env.perception import Perception

ROOT = Path(__file__).parent.parent
QUICK = ["--grpo.scenes", "8", "--grpo.group", "4", "--grpo.width", "16", "--scenes", "20", "--glimpses", "2"]


def policy(perception, out, *more, glimpses=256):
    train.main(
        ["policy", "--perception", perception, "--out", str(out), "--train_glimpses", str(glimpses), *QUICK, *more]
    )


def width(path):
    with Image.open(path) as picture:
        return picture.width


def test_policy_leaves_what_it_promises(small_perception, tmp_path, capsys):
    policy(small_perception, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    keys = {"command", "seed", "task", "source", "canvas", "glimpses", "sensor_pixels_per_glimpse", "versions", "rows"}
    assert keys <= set(results)
    assert (results["task"], results["source"], results["canvas"]) == ("classify", "digits", 40)
    assert [row["agent"] for row in results["rows"]] == ["random", "centre", "raster", "oracle", "grpo"]
    for row in results["rows"]:
        assert set(row) == {"agent", "seed", "train_glimpses", "train_seconds", "accuracy", "loss"}
        assert len(row["accuracy"]) == len(row["loss"]) == 3
    lines = list(csv.reader((tmp_path / "results.csv").read_text().splitlines()))
    assert len(lines) == 1 + 5 * 3
    for name in ("accuracy.png", "scan_paths.png"):
        assert width(tmp_path / name) > 300
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert checkpoint.load(tmp_path / "policy.safetensors", "policy")[1]["agent"] == "grpo"
    printed = capsys.readouterr().out
    assert "| grpo" in printed
    assert "right at the last glimpse" in printed
    assert str(tmp_path) in printed


def test_run_json_repeats_the_run(small_perception, tmp_path):
    policy(small_perception, tmp_path / "a", "--first_look", "null", "--seed", "3", "--clock")
    train.main(["--config", str(tmp_path / "a" / "run.json"), "--out", str(tmp_path / "b")])
    first, second = (json.loads((tmp_path / name / "results.json").read_text())["rows"] for name in "ab")
    for row in first + second:
        row.pop("train_seconds")
    assert first == second
    assert first[-1]["seed"] == 3
    runs = [json.loads((tmp_path / name / "run.json").read_text())["policy"] for name in "ab"]
    assert runs[0].pop("out") != runs[1].pop("out")
    assert runs[0] == runs[1]
    assert runs[0]["clock"] is True
    assert runs[0]["first_look"] is None


def test_run_json_can_be_changed_and_keeps_nested_options(small_perception, tmp_path):
    policy(small_perception, tmp_path / "a", "--source_options", '{"clutter": 3}', "--canvas", "44")
    config = ["--config", str(tmp_path / "a" / "run.json")]
    train.main([*config, "--agent", "ppo", "--ppo.num_envs", "8", "--out", str(tmp_path / "b")])
    again = json.loads((tmp_path / "b" / "run.json").read_text())["policy"]
    assert again["source_options"] == {"clutter": 3}
    assert (again["canvas"], again["agent"], again["ppo"]["num_envs"]) == (44, "ppo", 8)
    (tmp_path / "bad.json").write_text('{"policy": {"glimpsess": 3}}')
    with pytest.raises(SystemExit, match="unknown option 'glimpsess'"):
        train.main(["--config", str(tmp_path / "bad.json")])


def test_resuming_another_run_is_refused(small_perception, tmp_path):
    policy(small_perception, tmp_path)
    recorded = (tmp_path / "run.json").read_text()
    for other in (["--seed", "5"], ["--reward", "correct"], ["--grpo.discount", "0.1"]):
        with pytest.raises(SystemExit, match=r"--resume goes on with the run of .*run.json, whose"):
            policy(small_perception, tmp_path, "--resume", *other)
        assert (tmp_path / "run.json").read_text() == recorded
    with pytest.raises(SystemExit, match="is of 'policy', not of 'compare'"):
        train.main(["compare", "--resume", "--perception", small_perception, "--out", str(tmp_path)])
    (tmp_path / "run.json").unlink()
    with pytest.raises(SystemExit, match="cannot go on: its seed is 0, the command line's 5"):
        policy(small_perception, tmp_path, "--resume", "--seed", "5")


def test_the_main_job_takes_options_and_goes_on(small_perception, tmp_path, capsys):
    main = ["--perception", small_perception, "--out", str(tmp_path), *QUICK]
    train.main([*main, "--train_glimpses", "64"])
    train.main([*main, "--train_glimpses", "128", "--resume"])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["rows"][-1]["train_glimpses"] == 128
    assert json.loads((tmp_path / "run.json").read_text())["policy"]["reward"] == "probability"


def test_a_collapsed_policy_is_named(small_perception, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "foveal_agents.grpo.Grpo.act", lambda self, world, episode, **_: torch.ones(len(episode.glimpses), 2)
    )
    policy(small_perception, tmp_path, glimpses=1)
    assert "warning: the policy of grpo, seed 0, has collapsed: 100% of its gazes are stuck" in capsys.readouterr().out


def test_ctrl_c_loses_nothing(small_perception, tmp_path):
    """A run that is interrupted and resumed gives the policy of one that never was."""
    arguments = ["policy", "--perception", small_perception, *QUICK, "--train_glimpses", "24000"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "train.py"), *arguments, "--out", str(stopped)]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(stopped.glob("events*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert "--resume" in message
    assert "Traceback" not in message
    reached = checkpoint.load(stopped / "policy.safetensors", "policy")[1]["updates"]
    assert 0 < reached < 1000
    train.main([*arguments, "--out", str(stopped), "--resume"])
    train.main([*arguments, "--out", str(whole)])
    left, right = (checkpoint.load(out / "policy.safetensors", "policy")[0] for out in (stopped, whole))
    assert all(torch.equal(left[name], right[name]) for name in right)


def test_pretrain_then_use(tmp_path, capsys):
    out = tmp_path / "stage1"
    small = ["--multizoom.patch", "6", "--multizoom.zooms", "2", "--multizoom.width", "12", "--multizoom.depth", "1"]
    training = ["--steps", "4", "--batch", "8", "--digits.canvas", "32", "--digits.clutter", "1"]
    train.main(["pretrain", "--out", str(out), *small, *training])
    train.main(["pretrain", "--out", str(out), *small, *training, "--resume"])  # nothing is left to do
    path = str(out / "perception.safetensors")
    spec = checkpoint.load(path, "perception")[1]
    assert spec["source_options"]["canvas"] == 32
    assert spec["training"]["steps"] == 4
    assert spec["command"].endswith("--digits.clutter 1")  # it makes it from the beginning
    evaluate = ["evaluate", "--perception", path, "--scenes", "10", "--glimpses", "2"]
    train.main([*evaluate, "--baselines", "random", "spiral", "--out", str(tmp_path / "e")])
    rows = json.loads((tmp_path / "e" / "results.json").read_text())["rows"]
    assert [row["agent"] for row in rows] == ["random", "spiral"]
    gru = ["--encoder", "gru", "--gru.patch", "6", "--gru.width", "12"]
    train.main(["pretrain", "--out", str(tmp_path / "gru"), *gru, *training])
    assert checkpoint.load(tmp_path / "gru" / "perception.safetensors", "perception")[1]["encoder"] == "gru"


def test_the_stages_alternate_and_the_time_adds_up(tmp_path):
    options = ["--digits.canvas", "40", "--multizoom.width", "12", "--multizoom.heads", "3", "--multizoom.patch", "6"]
    options += ["--batch", "4", "--looks", "3"]
    first, agents, second = tmp_path / "first", tmp_path / "agents", tmp_path / "second"
    train.main(["pretrain", *options, "--steps", "4", "--out", str(first)])
    perception = str(first / "perception.safetensors")
    learn = f"compare --perception {perception} --glimpses 2 --learners grpo --baselines random --seeds 1 --scenes 5"
    quick = "--train_glimpses 64 --grpo.scenes 4 --grpo.group 2 --curve 2"
    train.main([*f"{learn} {quick}".split(), "--out", str(agents)])
    curve = json.loads((agents / "grpo-0" / "curve.json").read_text())
    assert [point["glimpses"] for point in curve] == [0, 32, 64]
    assert json.loads((agents / "results.json").read_text())["rows"][-1]["curve"] == curve
    policy = str(agents / "grpo-0" / "policy.safetensors")
    again = ["pretrain", *options, "--steps", "4", "--out", str(second), "--policy", policy]
    with pytest.raises(SystemExit, match="--policy needs --start"):
        train.main(again)
    train.main([*again, "--start", perception])
    spent, before = (Perception.load(folder / "perception.safetensors").spec["spent"] for folder in (second, first))
    assert 0 < before["seconds"] < spent["seconds"]
    with pytest.raises(SystemExit, match="belongs to another perception"):
        train.main([*again, "--start", "digits"])


def test_features_of_another_task_are_taken_over(tmp_path, capsys):
    options = ["--multizoom.width", "12", "--multizoom.heads", "3", "--multizoom.patch", "6"]
    options += ["--batch", "4", "--looks", "2", "--steps", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    train.main(["pretrain", *options, "--digits.canvas", "40", "--out", str(first)])
    path = str(first / "perception.safetensors")
    search = ["pretrain", "--source", "search", "--task", "search", "--search.canvas", "70", *options]
    train.main([*search, "--learning_rate", "1e-12", "--features", path, "--out", str(second)])
    assert "new: state_embedding, prompt.weight, prompt.bias" in capsys.readouterr().out
    before, after = (Perception.load(folder / "perception.safetensors") for folder in (first, second))
    assert torch.allclose(before.encoder.stem[0].weight, after.encoder.stem[0].weight, atol=1e-6)
    for name in ("pixel_mean", "pixel_deviation"):
        assert before.spec["encoder_config"][name] == after.spec["encoder_config"][name]
    assert after.spec["features"] == before.spec["command"]
    with pytest.raises(SystemExit, match="of another encoder"):
        train.main([*search, "--multizoom.depth", "1", "--features", path, "--out", str(second)])
    with pytest.raises(SystemExit, match="exclude each other"):
        train.main([*search, "--start", path, "--features", path, "--out", str(second)])


def test_pretrain_takes_plug_ins_of_ones_own(tmp_path, monkeypatch):
    """README's classes, as a module that `--encoder`, `--source` and `--task` name."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    bases = ("(Encoder)", "(Source)", "(Classify)")
    classes = [block.rpartition("\n\n\n")[0] for block in blocks if any(base in block for base in bases)]
    (tmp_path / "plug_ins.py").write_text("\n".join(classes))
    monkeypatch.syspath_prepend(tmp_path)
    quick = ["--steps", "1", "--batch", "4"]
    for option, name in (("encoder", "Average"), ("source", "Bars"), ("task", "Parity")):
        train.main(["pretrain", f"--{option}", f"plug_ins:{name}", *quick, "--out", str(tmp_path / name)])
        spec = checkpoint.load(tmp_path / name / "perception.safetensors", "perception")[1]
        assert spec[option] == f"plug_ins:{name}"


def test_compare_at_equal_glimpses(small_perception, tmp_path, capsys):
    budget = ["--seeds", "2", "--train_glimpses", "128"]
    learners = ["--learners", "grpo", "ppo", "--ppo.num_envs", "16"]
    train.main(["compare", "--perception", small_perception, "--out", str(tmp_path), *budget, *learners, *QUICK])
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    learned = [row for row in rows if row["train_glimpses"]]
    assert [(row["agent"], row["seed"]) for row in learned] == [("grpo", 0), ("ppo", 0), ("grpo", 1), ("ppo", 1)]
    assert "±" in capsys.readouterr().out


def test_show_draws_pictures_of_any_size(small_perception, tmp_path, capsys):
    Image.linear_gradient("L").resize((300, 90)).save(tmp_path / "wide.png")
    Image.new("RGB", (31, 64), "white").save(tmp_path / "tall.jpg")
    pictures = [str(tmp_path / "wide.png"), str(tmp_path / "tall.jpg")]
    common = ["show", "--perception", small_perception, "--out", str(tmp_path / "out"), *pictures]
    train.main([*common, "--agent", "spiral"])
    assert width(tmp_path / "out" / "scan-0-wide.png") > 200
    assert capsys.readouterr().out.count("the answer is") == 2
    policy(small_perception, tmp_path / "trained")
    train.main([*common, "--policy", str(tmp_path / "trained" / "policy.safetensors"), "--glimpses", "2"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["polcy"], "unknown command 'polcy'; known: policy, pretrain"),
        (["policy", "--agnt", "grpo"], "known: --"),
        (["policy", "--agent", "nope"], "unknown agent 'nope'; known: a2c"),
        (["pretrain", "--source", "nope"], "unknown source 'nope'; known: cifar10"),
        (["pretrain", "--encoder", "nope"], "unknown encoder 'nope'; known: gru"),
        (["policy", "--perception", "nope"], "unknown perception 'nope'; known: "),
        (["policy", "--reward", "nope"], "unknown reward 'nope'; known: gain, probability, correct"),
        (["policy", "--glimpses", "many"], "glimpses"),
        (["show", "/no/such.png", "--agent", "spiral"], "no such image: /no/such.png"),
        (["show", "x.png", "--policy", "none.safetensors"], "run `python train.py` first"),
        (["--config", "/no/such/run.json"], "run.json"),
        (["policy", "--resume"], "no such checkpoint"),
        (["policy", "--device", "nope"], "unknown device 'nope'"),
        (["policy", "--device", "meta"], "device 'meta' cannot be used here"),
        (
            ["policy", "--source_options", '{"cluttr": 3}'],
            "source 'digits' has no option 'cluttr'; known: split, canvas",
        ),
        (["policy", "--scenes", "0"], "scenes must be at least 1"),
        (["compare", "--seeds", "0"], "seeds must be at least 1"),
        (["policy", "--agent"], "expected one argument"),
        (["--config"], "needs the path"),
        (["evaluate", "--policies", "none.safetensors"], "no such checkpoint"),
    ],
)
def test_errors_are_one_line_that_names_the_choices(arguments, message, small_perception, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if (
        arguments[0] in ("policy", "evaluate", "compare", "show")
        and arguments[-1] != "--agent"
        and "--perception" not in arguments
    ):
        arguments = [*arguments, "--perception", small_perception]
    with pytest.raises(SystemExit) as stop:
        train.main(arguments)
    assert str(stop.value).startswith("train.py: error: ")
    assert "\n" not in str(stop.value)
    assert message in str(stop.value)


@pytest.mark.parametrize("command", sorted(train.COMMANDS))
def test_help_lists_every_option_with_its_meaning(command, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--device", "--out"):
        assert option in text
    parser = train.command_parser(command, train.names_in(command, [], {}))
    meant = [action for action in parser._actions if action.dest not in ("help", "config", "print_shtab")]
    for action in meant:
        assert action.help, action.dest
        assert not action.option_strings or action.option_strings[0] in text
    assert " ".join(text.split()).count("default:") >= 10


def test_the_overview_names_every_command(capsys):
    train.main(["--help"])
    printed = capsys.readouterr().out
    assert all(command in printed for command in train.COMMANDS)


def test_every_package_is_installed():
    listed = re.findall(
        r'"([^"]+)"', re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    )
    tops = ("foveal_env", "agents", "encoders")
    found = [path.parent.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(path.parts) for path in found)
