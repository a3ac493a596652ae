"""The site: generated pages are what the scripts make, its Python blocks run, and its links lead somewhere."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from foveal_agents.commands import COMMANDS, MAIN_JOB
from foveal_env.options import parse, places_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(DOCS.rglob("*.md"))
BLOCKS = {
    f"{page.relative_to(DOCS)}-{number}": block
    for folder in ("", "guide", "environments")
    for page in sorted((DOCS / folder).glob("*.md"))
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
}

COMMAND_LINES = [
    line.partition("  #")[0]
    for page in [ROOT / "README.md", *WRITTEN]
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith(("foveal ", "python train.py ")) and "my_module" not in line and "--config" not in line
]


@pytest.fixture
def script(monkeypatch):
    """Runs a script of docs/ without its main part, and returns what it defines."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: runpy.run_module(f"docs.{name}")


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = tmp_path / "block.py"
    block.write_text(BLOCKS[name])
    runpy.run_path(str(block), run_name="__main__")


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_line_is_understood(line):
    words = shlex.split(line.removeprefix("python train.py").removeprefix("foveal")) or list(MAIN_JOB)
    options = places_of(COMMANDS[words[0]], words[1:], {})
    assert parse("foveal", "", options, words[1:], {})


def test_pages_of_environments_are_up_to_date(script):
    made = script("make_env_pages")["pages"]()
    there = {path.name: path.read_text() for path in (DOCS / "environments").glob("*.md")}
    assert there.keys() == made.keys(), "make docs writes them anew"
    for name, text in made.items():
        assert there[name] == text, f"docs/environments/{name} is out of date: make docs writes it anew"


def test_the_list_of_files_is_up_to_date(script):
    made = script("make_tree")
    assert made["PAGE"].read_text() == made["page"](), "docs/design.md is out of date: make docs writes it anew"


def test_an_episode_of_every_id_is_shown_and_documented(script):
    from foveal_env import IDS, QUESTIONS

    assert list(QUESTIONS) == list(IDS)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_to_pages(page, script):
    made = {(DOCS / name).resolve() for name in script("build")["pages"]()}
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("https://"):
            path = (page.parent / target).resolve()
            assert path.is_file() or path in made, f"{page.name} links to {target}, which is not there"


def test_the_navigation_names_pages(script):
    build = script("build")
    made = build["pages"]()
    named = re.findall(r"^ +- (?:[\w ]+: )?(\S+\.md)$", build["navigation"]((ROOT / "mkdocs.yml").read_text()), re.M)
    assert len(named) > 50
    assert {"reference/foveal_agents.base.md", "environments/Search-v0.md", "changelog.md"} <= set(named)
    for name in named:
        assert name in made or (DOCS / name).is_file(), name


def test_a_tutorial_becomes_text_and_code(script):
    tutorial = '"""Left out."""\n\n# %% [markdown]\n# # A title\n#\n# Some text.\n\n# %%\nx = 1\nprint(x)\n'
    page = script("build")["as_markdown"](tutorial, "first.py")
    assert page.startswith("# A title\n\nSome text.\n\n```python\nx = 1\nprint(x)\n```\n")
    assert "tutorials/first.py" in page
    assert "Left out" not in page
