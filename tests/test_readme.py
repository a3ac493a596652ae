"""README's Python blocks run as they are, and its file tree is the repository's."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = tmp_path / f"block{number}.py"
    block.write_text(BLOCKS[number])
    runpy.run_path(str(block), run_name="__main__")


def test_there_are_blocks():
    assert len(BLOCKS) >= 5


def test_the_tree_names_what_is_there():
    tree = re.search(r"## Files\n+```\n(.*?)```", README, re.DOTALL).group(1)
    named, folders = set(), []
    for line in tree.splitlines():
        entry = re.match(r"( *)(\S+)", line)
        depth = len(entry.group(1)) // 2
        folders[depth:] = [entry.group(2)]
        named.add("".join(folders))
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rooms = ("agents/", "encoders/", "foveal_env/", "benchmarks/")
    code = {
        path
        for path in tracked
        if (path.startswith(rooms) or "/" not in path) and path.endswith(".py") and not path.endswith("__init__.py")
    }
    assert code <= named, f"README's tree lacks {sorted(code - named)}"
    for path in named:
        assert (ROOT / path).exists(), f"README's tree names {path}, which is not there"
