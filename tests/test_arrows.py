"""Who may import whom: between the packages, inside `foveal_env`, and foreign libraries in few places."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"agents": "foveal_agents", "encoders": "foveal_encoders", "foveal_env": "foveal_env"}
ARROWS = ["foveal_encoders", "foveal_env", "foveal_agents", "train", "benchmarks"]  # each may import those before it
FLOORS = [  # of foveal_env, bottom to top; a room may import itself and the floors below
    {"batch", "checkpoint", "devices", "kernels", "randomness", "registry"},
    {"images", "trust"},
    {"data", "retina"},
    {"render", "sources"},
    {"gaze_law", "tasks"},
    {"contracts"},
    {"perception"},
    {"world"},
    {"infos", "make", "pretraining"},
    {"options", "rllib"},
    {"cli"},
    {"env"},
]
SB3 = {f"agents/sb3/{name}.py" for name in ("algorithms", "policies", "vec_env", "zips")}
ONLY_IN = {
    "stable_baselines3": SB3,
    "gymnasium": {
        "foveal_env/__init__.py",
        "foveal_env/env.py",
        "foveal_env/rllib.py",
        "agents/sb3/algorithms.py",
        "agents/sb3/policies.py",
        "agents/sb3/vec_env.py",
        "agents/foreign.py",
    },
    "torchvision": {"foveal_env/sources/torchvision_data.py"},
    "pickle": set(),
}
FILES = [ROOT / "train.py", *(path for room in (*PACKAGES, "benchmarks") for path in (ROOT / room).rglob("*.py"))]


def imports(path):
    """Yield the modules that a file imports, by full name; a name imported from a package is a module of it, if any."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def floor(room):
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"foveal_env/{room} has no floor: tests/test_arrows.py lists them"
    return found[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_follow_the_arrows(path):
    place = path.relative_to(ROOT).as_posix()
    top = place.partition("/")[0].removesuffix(".py")
    package = PACKAGES.get(top, top)
    for name in imports(path):
        first = name.partition(".")[0]
        assert first not in ("agents", "encoders"), f"{place} imports {name}: it is foveal_{first}"
        if first in ARROWS:
            assert ARROWS.index(first) <= ARROWS.index(package), f"{place} imports {name}"
        for library in {first, name} & set(ONLY_IN):
            assert top == "benchmarks" or place in ONLY_IN[library], f"{place} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "foveal_env").rglob("*.py")), ids=lambda path: path.name)
def test_foveal_env_has_no_import_upwards(path):
    parts = path.relative_to(ROOT / "foveal_env").with_suffix("").parts
    room = parts[0]
    if room == "__init__":
        return  # names of all floors, imported when they are used
    for name in imports(path):
        if name.startswith("foveal_env."):
            other = name.split(".")[1]
            if other == room:
                continue
            assert floor(other) < floor(room), f"foveal_env/{room} imports foveal_env.{other}"


def test_every_room_has_a_floor():
    entries = (ROOT / "foveal_env").iterdir()
    rooms = {path.stem for path in entries if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")}
    assert rooms - {"__init__"} == set().union(*FLOORS)
