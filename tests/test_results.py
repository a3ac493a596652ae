"""Tables, statistics and files of a comparison."""

import csv
import json

import pytest
from quick_agents import quick

from foveal_agents.base import make_agent
from foveal_agents.results import gap_closed, results, row, summarise, table, write_results
from foveal_agents.rollout import evaluate
from foveal_env.make import make_world


def entry(agent, last, seed=0, seconds=0.0):
    return {
        "agent": agent,
        "seed": seed,
        "train_glimpses": 100,
        "train_seconds": seconds,
        "accuracy": [0.1, last],
        "loss": [2.0, 1.0],
    }


ROWS = [
    entry("oracle", 0.9),
    entry("random", 0.5),
    entry("grpo", 0.7, seconds=10.0),
    entry("grpo", 0.8, seed=1, seconds=20.0),
]


@pytest.fixture
def contents(small_world):
    evaluation = evaluate(small_world, make_agent("centre", small_world), scenes=6)
    rows = [row(make_agent("centre", small_world), evaluation)]
    made = {"perception": "small", "source": None}
    return results(small_world, rows, command="python train.py evaluate", seed=0, scenes=6, made=made)


def test_a_row_tells_what_an_agent_did_and_spent(small_world):
    agent = quick("grpo", small_world, seed=4)
    next(agent.train(1))
    entry = row(agent, evaluate(small_world, agent, scenes=6))
    assert entry["agent"] == "grpo"
    assert entry["seed"] == 4
    assert entry["train_glimpses"] == agent.spent.glimpses == 96
    assert entry["train_seconds"] == round(agent.spent.seconds, 1)
    assert len(entry["accuracy"]) == len(entry["loss"]) == 4
    assert "glimpses" not in entry  # none ended early


def test_a_row_tells_the_glimpses_of_episodes_that_end_early_and_what_the_task_tells(searching):
    world = make_world(perception=searching, glimpses=4, task_options={"tolerance": 20.0})
    entry = row(make_agent("random", world), evaluate(world, make_agent("random", world), scenes=6))
    assert entry["accuracy"][-1] == 1
    assert entry["glimpses"] < 4
    assert {"distance", "path_length", "spl"} < set(entry)


def test_results_say_what_was_measured_and_with_what(contents):
    assert contents["task"] == "classify"
    assert contents["source"] == "digits"  # the perception's own
    assert contents["perception"] == "small"
    assert (contents["canvas"], contents["glimpses"], contents["split"], contents["scenes"]) == (40, 3, "train", 6)
    assert contents["images"] == 1257
    assert contents["sensor_pixels_per_glimpse"] == 2 * 8 * 8
    assert set(contents["versions"]) >= {"python", "torch", "foveal-env"}


def test_results_name_another_source(small_world):
    made = {"perception": "small", "source": "ladder"}
    assert results(small_world, [], command="", seed=0, scenes=1, made=made)["source"] == "ladder"


def test_results_are_written_as_json_and_as_csv(contents, tmp_path):
    write_results(tmp_path, contents)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.json"]
    assert json.loads((tmp_path / "results.json").read_text()) == contents
    lines = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [int(line["glimpse"]) for line in lines] == [0, 1, 2, 3]
    assert [float(line["accuracy"]) for line in lines] == contents["rows"][0]["accuracy"]


def test_a_summary_has_the_interval_over_seeds():
    mean, half, count = summarise(ROWS)["grpo"]
    assert count == 2
    assert mean.tolist() == pytest.approx([0.1, 0.75])
    assert half.tolist() == pytest.approx([0, 12.706 * 0.05], abs=1e-3)  # t of one degree of freedom
    assert summarise(ROWS)["random"][1].tolist() == [0, 0]


def test_a_table_has_the_best_agent_last():
    lines = table({"glimpses": 1, "rows": ROWS}).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["agent", "------", "random", "grpo", "oracle"]
    assert lines[3].split("|")[2:-1] == [" 2     ", " 10.0 ± 0.0 ", " 75.0 ± 63.5 ", " 15      "]
    assert len({len(line) for line in lines}) == 1


def test_the_gap_from_random_to_oracle_is_known_if_all_three_are():
    assert gap_closed(ROWS, "grpo") == pytest.approx(0.625)
    assert gap_closed(ROWS, "ppo") is None
    assert gap_closed(ROWS[1:], "grpo") is None
    assert gap_closed([entry("oracle", 0.5), *ROWS[1:]], "grpo") is None
