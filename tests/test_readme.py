"""README's Python blocks run as they are, and its tree names what is there."""

import re
import runpy
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
    assert len(BLOCKS) >= 2


def test_the_tree_names_what_is_there():
    tree = re.search(r"## Files\n+```\n(.*?)```", README, re.DOTALL).group(1)
    room = ""
    for line in tree.splitlines():
        depth, name = re.match(r"( *)(\S+)", line).groups()
        room = room if depth else name
        assert (ROOT / (room + name if depth else name)).exists(), f"README's tree names {name}, which is not there"
