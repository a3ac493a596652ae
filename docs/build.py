"""Build the documentation into build/docs/site: ``make docs``, or ``python -m docs.build``.

The pages are those of docs/, and some made from other files: the tutorials, the reference and the changelog. In
mkdocs.yml a navigation entry that ends with "/" stands for all pages of that folder. What is staged in build/docs is
plain: MkDocs with its theme Material builds it as well.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "build" / "docs"
PACKAGES = {"foveal_env": "foveal_env", "foveal_encoders": "encoders", "foveal_agents": "agents"}
UNSHOWN = ("__init__", "__main__")


def stage() -> Path:
    """Lay the pages and the configuration into build/docs; return the path of the configuration."""
    shutil.rmtree(STAGE, ignore_errors=True)
    files = {
        path.relative_to(ROOT / "docs"): path.read_bytes() for path in (ROOT / "docs").rglob("*.*") if is_shown(path)
    }
    files |= {Path(name): text.encode() for name, text in pages().items()}
    for name, content in files.items():
        target = STAGE / "pages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(unbroken(content) if name.suffix == ".md" else content)
    (STAGE / "packages").mkdir()
    for name, folder in PACKAGES.items():  # under the names that they are imported by
        (STAGE / "packages" / name).symlink_to(ROOT / folder)
    configuration = STAGE / "mkdocs.yml"
    configuration.write_text(navigation((ROOT / "mkdocs.yml").read_text()))
    return configuration


def is_shown(path: Path) -> bool:
    """Return whether a file of docs/ belongs to the site."""
    return path.suffix in (".md", ".png", ".gif", ".css")


def unbroken(page: bytes) -> bytes:
    """Return a page in whose narrow columns no line ends with ±."""
    return page.replace("± ".encode(), "±\u00a0".encode())


def navigation(configuration: str) -> str:
    """Return a configuration with the pages of a folder in place of each entry that ends with "/"."""
    return re.sub(r"^  - (.+): (\w+/)\n", lambda entry: section(*entry.groups()), configuration, flags=re.MULTILINE)


def section(title: str, folder: str) -> str:
    """Return the entries of a folder, its index first; nothing if it has no pages."""
    names = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / folder).glob("*.md")}
    names |= {name for name in pages() if name.startswith(folder)}
    lines, package = [], ""
    for name in sorted(names, key=lambda name: (not name.endswith("/index.md"), name.count("."), name)):
        parent, _, module = Path(name).stem.rpartition(".")
        if parent != package:  # the pages of the reference stand below their packages
            lines.append(f"      - {parent}:\n")
            package = parent
        lines.append(f"          - {module}: {name}\n" if parent else f"      - {name}\n")
    return f"  - {title}:\n{''.join(lines)}" if lines else ""


def pages() -> dict[str, str]:
    """Return the pages that are made from other files, by name."""
    return {"changelog.md": (ROOT / "CHANGELOG.md").read_text(), **tutorials(), **reference()}


def tutorials() -> dict[str, str]:
    """Return a page for each tutorials/*.py."""
    scripts = sorted((ROOT / "tutorials").glob("*.py"))
    return {f"tutorials/{path.stem}.md": as_markdown(path.read_text(), path.name) for path in scripts}


def as_markdown(script: str, name: str) -> str:
    """Turn a script in percent format into a page: "# %% [markdown]" cells are text, all others are code.

    Args:
        script: text of the file; what stands before its first cell is left out.
        name: name of the file, for the line that says where it is.
    """
    cells = re.split(r"^# %%(.*)\n", script, flags=re.MULTILINE)[1:]
    parts = []
    for kind, body in zip(cells[::2], cells[1::2], strict=True):
        if "[markdown]" in kind:
            parts.append(re.sub(r"^# ?", "", body.strip("\n"), flags=re.MULTILINE))
        elif body.strip():
            parts.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join([*parts, f"`python tutorials/{name}` runs this page."]) + "\n"


def reference() -> dict[str, str]:
    """Return a page for each public module, which mkdocstrings fills from its docstrings."""
    made = {}
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = (package, *path.relative_to(ROOT / folder).with_suffix("").parts)
            if "pretrained" not in parts and parts[-1] not in UNSHOWN:
                made[f"reference/{'.'.join(parts)}.md"] = f"# {'.'.join(parts)}\n\n::: {'.'.join(parts)}\n"
    return made


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit(print("The site was not built: its builder needs Python 3.11."))
    builder = Path(sys.executable).parent / "zensical"
    sys.exit(subprocess.run([builder, "build", "--strict", "--clean", "--config-file", stage()], cwd=ROOT).returncode)
