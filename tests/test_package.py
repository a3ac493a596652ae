"""What a user installs: the wheel's contents, and that it lives beside other people's packages."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import foveal_env

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of source distribution and wheel, built from a copy of what is tracked or could be."""
    copy, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("built")
    hidden = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "dist", "*.egg-info", "site")
    shutil.copytree(ROOT, copy, ignore=hidden)
    command = [sys.executable, "-m", "build", "--sdist", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_has_three_names(names):
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"foveal_agents", "foveal_encoders", "foveal_env"}


@pytest.mark.parametrize("package", ["foveal_agents", "foveal_encoders", "foveal_env"])
def test_the_wheel_has_every_file_of_a_package(names, package):
    folder = ROOT / package.removeprefix("foveal_") if package != "foveal_env" else ROOT / package
    suffixes = {".py", ".safetensors", ".md", ".sh", ".typed"}
    files = [path for path in folder.rglob("*") if path.suffix in suffixes or path.name == "py.typed"]
    expected = {f"{package}/{path.relative_to(folder).as_posix()}" for path in files if "__pycache__" not in path.parts}
    assert expected <= set(names)
    assert f"{package}/py.typed" in names


def test_the_wheel_has_a_licence_and_no_test_or_benchmark(names):
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name or "benchmark" in name or name == "train.py"]


def test_the_source_distribution_has_what_its_tests_need(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    rooms = ("agents", "encoders", "foveal_env", "benchmarks", "docs", "recipes", "tests", "tutorials")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    files += [ROOT / name for name in ("train.py", "constraints.txt", "mkdocs.yml", "Makefile", "CHANGELOG.md")]
    expected = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert not expected - names


def test_the_console_script_is_named(wheel, names):
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    text = zipfile.ZipFile(wheel).read(entry_points).decode()
    assert "foveal = foveal_agents.commands:main" in text


def test_the_version_is_told(wheel):
    assert wheel.name.split("-")[1] == foveal_env.__version__


def test_it_lives_beside_packages_of_its_folders_names(wheel, tmp_path):
    """Somebody's own `agents`, `encoders` and `train` stay what they are, and ours work beside them."""
    theirs = {"agents/__init__.py": "OWNER = 'them'", "encoders/__init__.py": "OWNER = 'them'", "train.py": "OWNER = 1"}
    for name, text in theirs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert {name: (tmp_path / name).read_text() for name in theirs} == theirs
    code = (
        "import sys\n"
        "import agents, encoders, train, gymnasium, foveal_agents, foveal_encoders, foveal_env\n"
        "assert agents.OWNER == encoders.OWNER == 'them' and train.OWNER == 1\n"
        "from foveal_agents.base import make_agent\n"
        "from foveal_env import make_world\n"
        "env = gymnasium.make('foveal_env/Classify-v0')\n"
        "assert 'torch._dynamo' not in sys.modules  # it takes a second to import\n"
        "print(foveal_env.__file__, foveal_agents.__file__, make_agent('grpo', make_world(), num_scenes=2).name)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        str(tmp_path / "foveal_env/__init__.py"),
        str(tmp_path / "foveal_agents/__init__.py"),
        "grpo",
    ]


@pytest.mark.parametrize("folder", ["agents", "encoders"])
def test_a_folder_imported_by_its_own_name_says_the_right_one(folder):
    run = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True)
    assert f"import foveal_{folder}, not {folder}" in run.stderr
