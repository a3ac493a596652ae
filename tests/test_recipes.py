"""Recipes run as they are. One whose library is not installed is skipped, and says which extra brings it."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
EXTRAS = {  # libraries that are no dependencies: the extra that brings each
    "moviepy": "video",
    "sb3_contrib": "sb3-contrib",
    "rl_zoo3": "rl-zoo3",
    "ray": "rllib",
    "torchrl": "torchrl",
    "tensordict": "torchrl",
    "minari": "minari",
    "optuna": "optuna",
}
PROJECT = (ROOT / "pyproject.toml").read_text()


def imports(recipe):
    """Return the packages that a recipe imports."""
    found = set()
    for node in ast.walk(ast.parse(recipe.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_and_writes_into_runs_only(recipe, tmp_path):
    missing = sorted(name for name in imports(recipe) if name in EXTRAS and not importlib.util.find_spec(name))
    if missing:
        pytest.skip(f"{recipe.name} needs {missing[0]}: pip install 'foveal-env[{EXTRAS[missing[0]]}]'")
    places = {"HOME": str(tmp_path / "runs"), "MINARI_DATASETS_PATH": str(tmp_path / "runs/minari")}
    path = os.pathsep.join([*(place for place in sys.path if place), str(ROOT)])
    run = subprocess.run(
        [sys.executable, str(recipe)],
        cwd=tmp_path,
        env={**os.environ, **places, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout
    assert {entry.name for entry in tmp_path.iterdir()} <= {"runs"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_shadows_no_library(recipe):
    assert len(recipe.read_text().splitlines()) <= 50
    assert recipe.stem not in sys.stdlib_module_names | set(EXTRAS) | {"gymnasium", "torch", "stable_baselines3"}


@pytest.mark.parametrize("extra", sorted(set(EXTRAS.values())))
def test_an_extra_brings_the_library(extra):
    listed = re.search(rf'^"?{re.escape(extra)}"? = \[(.*)\]', PROJECT, re.MULTILINE)
    assert listed, f"pyproject.toml has no extra {extra!r}"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_guide_names_every_recipe(recipe):
    assert f"recipes/{recipe.name}" in (ROOT / "docs" / "guide" / "other-libraries.md").read_text()
