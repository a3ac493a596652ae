"""Both stages' loops: what they leave, tell, and do when they are interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from quick_agents import quick
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from foveal_agents import training
from foveal_agents.commands import main
from foveal_agents.policy_files import load_agent
from foveal_env import checkpoint
from foveal_env.make import make_source
from foveal_env.perception import Perception
from foveal_env.pretraining import Pretraining
from foveal_env.world import World

ROOT = Path(__file__).parent.parent


def job(steps=3, **options):
    """A stage 1 and its validation world."""
    source, validation = (make_source("digits", split, canvas=40, clutter=1) for split in ("train", "validation"))
    perception = Perception.build(source, patch=6, zooms=2, width=12, depth=1)
    new = Pretraining(perception, source, steps=steps, batch=4, glimpses=2, **options)
    return new, World(validation, perception, new.world.rules)


def scalars(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_stage_1_logs_validates_and_saves(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    monkeypatch.setattr(training, "VALIDATE_EVERY", 2)
    new, validation = job()
    accuracy = training.pretrain(new, tmp_path, validation=validation)
    assert list(accuracy) == ["random", "oracle"]
    assert all(len(shares) == 3 for shares in accuracy.values())
    assert scalars(tmp_path) == {
        name: [2, 3] for name in ("train/loss", "train/accuracy", "validation/random", "validation/oracle")
    }
    assert (tmp_path / "training.safetensors").is_file()
    printed = capsys.readouterr().out
    for words in ("2 updates, accuracy after each look at random: ", "3 updates, accuracy after each look near the"):
        assert words in printed


def test_validation_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    (first, validation), (second, _) = job(), job()
    training.pretrain(first, tmp_path / "a", validation=validation)
    assert training.pretrain(second, tmp_path / "b") == {}
    left, right = first.perception.state_dict(), second.perception.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in right)


def test_stage_1_that_is_resumed_is_as_if_never_stopped(tmp_path):
    (whole, _), (stopped, _), (again, _) = job(), job(), job()
    training.pretrain(whole, tmp_path / "whole")
    stopped.update()
    stopped.save(tmp_path / "training.safetensors")
    training.pretrain(again, tmp_path, resume=True)
    left, right = whole.perception.state_dict(), again.perception.state_dict()
    assert again.done == 3
    assert all(torch.equal(left[name], right[name]) for name in right)


def test_stage_2_logs_and_shows_scan_paths(small_world, tmp_path):
    agent = quick("grpo", small_world)
    training.train_agent(agent, 200, tmp_path, validation=small_world)
    events = scalars(tmp_path)
    assert events["train/reward"][-1] == agent.spent.glimpses >= 200
    assert len(events["validation/accuracy"]) == 1
    assert "train/glimpses" not in events
    assert checkpoint.load(tmp_path / "policy.safetensors", "policy")[1]["spent"]["glimpses"] == agent.spent.glimpses


def test_a_learning_curve_begins_before_training_and_has_the_points_asked_for(small_world, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "VALIDATION_SCENES", 20)
    agent = quick("grpo", small_world)
    chunk = 8 * 4 * 3
    training.train_agent(agent, 4 * chunk, tmp_path, validation=small_world, curve_points=2)
    curve = training.read_curve(tmp_path)
    assert [point["glimpses"] for point in curve] == [0, 2 * chunk, 4 * chunk]
    assert curve[0]["seconds"] == 0 < curve[1]["seconds"] < curve[2]["seconds"]
    assert all(0 <= point["accuracy"] <= 1 for point in curve)


def test_a_learning_curve_needs_validation_scenes(small_world, tmp_path):
    with pytest.raises(ValueError, match="needs a world of validation scenes"):
        training.train_agent(quick("grpo", small_world), 10, tmp_path, curve_points=2)


def test_a_log_file_has_few_lines(monkeypatch, capsys):
    """Where stderr is no terminal, progress is a line at the beginning, one each 30 seconds, and one at the end."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with training.Progress("train", "glimpses", total=6000, done=1000) as progress:
        for number in range(1, 51):
            clock[0] += 1
            progress.update(1000 + 100 * number, {"reward": number / 100} if number % 2 == 0 else None)
        progress.update(7000)
    assert capsys.readouterr().err.splitlines() == [
        "train: 1,000 of 6,000 glimpses after 0 s",
        "train: 4,100 of 6,000 glimpses after 31 s, reward 0.300",
        "train: 6,000 of 6,000 glimpses after 50 s, reward 0.500",
    ]


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with training.Progress("train", "glimpses", total=200) as progress:
        progress.update(100, {"reward": 0.5})
        assert progress.bar.n == 100
        progress.update(300)
        assert progress.bar.n == 200
    printed = capsys.readouterr().err
    assert "reward=0.500" in printed
    assert "after" not in printed


class Killed(Exception):
    """What ends a training in the middle of a log."""


def cut(folder, count):
    """Cut the last bytes off the newest event file, as if the process had died while it wrote."""
    newest = max(folder.glob("events.out.tfevents.*"))
    newest.write_bytes(newest.read_bytes()[:-count])


@pytest.mark.parametrize("stage", [1, 2])
def test_tensorboard_has_each_point_once_after_a_crash_and_a_resume(stage, small_world, tmp_path, monkeypatch):
    """The checkpoint is of the third update; the process dies while it logs the sixth."""
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    monkeypatch.setattr(training, "SAVE_EVERY", -1.0)

    def run(folder, resume=False):
        if stage == 1:
            training.pretrain(job(steps=8)[0], folder, resume=resume)
        else:
            path = folder / "policy.safetensors"
            agent = load_agent(path, small_world) if resume else quick("grpo", small_world)
            training.train_agent(agent, 8 * 96, folder)

    run(tmp_path / "whole")
    expected = scalars(tmp_path / "whole")
    assert all(len(steps) == 8 for steps in expected.values())
    logs, saves, add, save = [], [], training.add_scalars, checkpoint.save

    def dies(writer, *arguments):
        logs.append(None)
        add(writer, *arguments)
        if len(logs) == 6:
            raise Killed

    def saves_no_more(*arguments):
        saves.append(None)
        if len(saves) <= 4:  # one before the first update, and three
            save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "add_scalars", dies)
        patch.setattr(checkpoint, "save", saves_no_more)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    cut(tmp_path / "killed", 5)
    assert all(len(steps) >= 5 for steps in scalars(tmp_path / "killed").values())
    run(tmp_path / "killed", resume=True)
    assert len(list((tmp_path / "killed").glob("events.out.tfevents.*"))) == 2
    assert scalars(tmp_path / "killed") == expected


def test_events_of_a_resumed_run_are_read_after_the_old_ones(tmp_path):
    """Event files are read in the order of their names: a second of the clock, and then numbers of processes."""
    for after in (None, 1):
        with training.session(tmp_path, after=after) as writer:
            for step in range(after or 0, 3):
                writer.add_scalar("train/reward", float(after is None), step + 1)
    old, new = sorted(tmp_path.glob("events.out.tfevents.*"))
    assert int(old.name.split(".")[3]) < int(new.name.split(".")[3])
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/reward")] == [(1, 1), (2, 0), (3, 0)]


def test_a_learning_curve_has_each_point_once_after_a_crash(small_world, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "VALIDATION_SCENES", 20)
    agent = quick("grpo", small_world)
    next(agent.train(1))
    agent.save(tmp_path / "policy.safetensors")
    training.write_json(tmp_path / "curve.json", [{"glimpses": n, "seconds": 0, "accuracy": 0} for n in (0, 96, 192)])
    saved = load_agent(tmp_path / "policy.safetensors", small_world)
    training.train_agent(saved, 4 * 96, tmp_path, validation=small_world, curve_points=4)
    assert [point["glimpses"] for point in training.read_curve(tmp_path)] == [0, 96, 192, 288, 384]


FAST = """
import sys
from foveal_agents import training
from foveal_agents.commands import main
training.SAVE_EVERY = 0.1
main(sys.argv[1:])
"""


def updates_of(path):
    """The updates that a saved policy has made; 0 if there is none."""
    return checkpoint.load(path, "policy")[1]["updates"] if path.is_file() else 0


def test_killed_and_interrupted_and_resumed_is_never_stopped(small_perception, tmp_path):
    """A run that is killed, resumed, interrupted by Ctrl-C, and resumed again gives what one gives that never was."""
    options = "--grpo.num_scenes 8 --grpo.group_size 4 --grpo.width 16 --scenes 20 --glimpses 2 --train_glimpses 6400"
    arguments = ["policy", "--perception", small_perception, *options.split(), "--baselines", "random"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    path, reached, messages = stopped / "policy.safetensors", 0, []
    for how, resume in ((signal.SIGKILL, []), (signal.SIGINT, ["--resume"])):
        command = [sys.executable, "-c", FAST, *arguments, "--out", str(stopped), *resume]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        deadline, before = time.monotonic() + 60, reached
        while reached == before and time.monotonic() < deadline:
            time.sleep(0.05)
            reached = updates_of(path)
        time.sleep(0.1)
        process.send_signal(how)
        messages.append(process.communicate(timeout=60)[1])
        assert process.returncode != 0
        reached = updates_of(path)
        assert before < reached < 100
    assert "--resume" in messages[1]
    assert "Traceback" not in messages[1]
    main([*arguments, "--out", str(stopped), "--resume"])
    main([*arguments, "--out", str(whole)])
    left, right = (checkpoint.load(out / "policy.safetensors", "policy")[0] for out in (stopped, whole))
    assert all(torch.equal(left[name], right[name]) for name in right)
    found, expected = scalars(stopped), scalars(whole)
    for name in found:
        assert len(set(found[name])) == len(found[name]), name
        if name.startswith("train/"):
            assert found[name] == expected[name]
