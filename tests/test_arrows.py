"""Who may import whom: train -> agents -> foveal_env -> encoders -> torch, and foreign libraries in few places."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("train", "agents", "foveal_env", "encoders")
MAY = {
    "train": {"agents", "foveal_env", "encoders"},
    "agents": {"agents", "foveal_env", "encoders"},
    "foveal_env": {"foveal_env", "encoders"},
    "encoders": {"encoders"},
}
ONLY_IN = {
    "stable_baselines3": {"agents/sb3.py"},
    "gymnasium": {"foveal_env/__init__.py", "foveal_env/env.py", "agents/sb3.py"},
    "torchvision": {"foveal_env/sources/torchvision_data.py"},
    "pickle": set(),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", [ROOT / "train.py", *(p for room in OURS for p in (ROOT / room).rglob("*.py"))])
def test_imports_follow_the_arrows(path):
    place = path.relative_to(ROOT).as_posix()
    room = place.partition("/")[0].removesuffix(".py")
    for name in imports(path):
        first = name.partition(".")[0]
        if first in OURS:
            assert first in MAY[room], f"{place} imports {name}"
            assert not (room == "agents" and name.startswith("encoders.") and name != "foveal_env.registry"), place
        if first in ONLY_IN:
            assert place in ONLY_IN[first], f"{place} imports {name}"
