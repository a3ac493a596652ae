"""Benchmarks: each module imports and answers --help without measuring, and pages are what the results make."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import files, markdown, statistics
from benchmarks.command_line import with_prefix, words_of
from benchmarks.literature import ablations
from benchmarks.literature.rows import ROWS
from foveal_agents.commands import COMMANDS
from foveal_env import cli

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "benchmarks").rglob("*.py"))
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]
SHIPPED = sorted(path for room in ("agents", "encoders") for path in (ROOT / room / "pretrained").glob("*.safetensors"))
PROGRAMS = [name for name, path in zip(MODULES, FILES, strict=True) if "if __name__" in path.read_text()]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports(name):
    importlib.import_module(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_answers_help_without_measuring(name, monkeypatch, capsys):
    program = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_every_folder_is_a_program():
    folders = {path.parent.name for path in FILES if path.name == "__init__.py"} - {"benchmarks"}
    assert {f"benchmarks.{folder}.__main__" for folder in folders} <= set(PROGRAMS)


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=str)
def test_there_is_no_logic_in_an_init(path):
    assert re.fullmatch(r'(""".*?"""\n)?', path.read_text(), re.DOTALL)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The pages and README, copied, and no plots: what a report writes goes there."""
    pages = {}
    for page in (*files.PAGES.glob("*.md"), ablations.PAGE, ROOT / "README.md"):
        target = tmp_path / page.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page.read_text())
        pages[target] = page.read_text()
    monkeypatch.setattr("foveal_agents.plots.write_atomically", lambda path, data: None)
    put_in = markdown.put_in

    def elsewhere(page, name, text):
        put_in(tmp_path / page.relative_to(ROOT), name, text)

    for name in MODULES:
        if hasattr(importlib.import_module(name), "put_in") and name != "benchmarks.markdown":
            monkeypatch.setattr(f"{name}.put_in", elsewhere)
    return pages


@pytest.mark.parametrize(
    "name", [n.removesuffix(".__main__") for n in PROGRAMS if n.endswith(("__main__", "ablations"))]
)
def test_pages_are_what_the_results_make(name, copied, capsys):
    program = name if name.endswith("ablations") else f"{name}.__main__"
    importlib.import_module(program).main(["--report"])
    for page, text in copied.items():
        assert page.read_text() == text, f"{page.name} is out of date: python -m {name} --report writes it anew"


def test_the_interval_is_students():
    values = np.array([0.1, 0.4, 0.2, 0.9])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert statistics.half_width(values) == pytest.approx((high - low) / 2)
    assert statistics.half_width([0.3]) == 0


@pytest.mark.parametrize(("values", "shown"), [([0.5], "50.0"), ([0.5, 0.5], "50.0 ± 0.0")], ids=["one", "two"])
def test_a_single_value_has_no_interval(values, shown):
    assert statistics.with_interval(values, scale=100) == shown


def test_a_table_goes_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- benchmarks.x -->\nold\n<!-- end of benchmarks.x -->\nb\n")
    markdown.put_in(page, "x", markdown.table(["n"], [[1]]))
    assert page.read_text() == "a\n<!-- benchmarks.x -->\n\n| n |\n| --- |\n| 1 |\n\n<!-- end of benchmarks.x -->\nb\n"
    with pytest.raises(ValueError, match="no place for this table"):
        markdown.put_in(page, "y", "")


def test_options_become_words():
    options = {"seeds": 2, "resume": True, "stop": False, "learners": ("grpo", "ppo"), "first_look": None}
    assert words_of({**options, **with_prefix("encoder", {"zoom_range": [0, 4]})}) == [
        *("--seeds", "2", "--resume", "--learners", "grpo", "ppo", "--first_look", "null"),
        *("--encoder.zoom_range", "[0, 4]"),
    ]


def test_what_is_measured_is_not_measured_again(tmp_path):
    path = tmp_path / "found.json"
    assert files.measured_once(path, lambda: [1]) == files.measured_once(path, lambda: [2]) == [1]


def check_command(words):
    """Raise an error unless the command line takes these words."""
    function = COMMANDS[words[0]]
    cli.parse(words[0], "", cli.places_of(function, words[1:], {}), words[1:], {})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_shipped_file_has_a_script_of_valid_commands(path, tmp_path):
    script = path.with_suffix(".sh")
    program = tmp_path / "foveal"
    program.write_text(
        f"#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >> {tmp_path}/words; echo >> {tmp_path}/words\n"
    )
    program.chmod(0o755)
    subprocess.run(["bash", script], check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    commands = [lines.split("\n") for lines in (tmp_path / "words").read_text().strip().split("\n\n")]
    assert len(commands) == len(re.findall("^foveal ", script.read_text(), re.MULTILINE))
    for words in commands:
        check_command(words)


@pytest.mark.parametrize("path", sorted(files.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_commands_have_present_options(path):
    recorded = set(re.findall(r"python train\.py ([^\"]+)", path.read_text()))
    for command in recorded:
        check_command(shlex.split(command))


@pytest.mark.parametrize("name", [name for name in ROWS if (files.RESULTS / f"{name}.json").is_file()])
def test_results_of_a_row_have_its_present_options(name):
    found = json.loads((files.RESULTS / f"{name}.json").read_text())
    assert found.get("agent_options", ROWS[name].agent_options) == ROWS[name].agent_options
    assert (found["to_beat"], found["glimpses"]) == (ROWS[name].to_beat, ROWS[name].glimpses)
