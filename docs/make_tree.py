"""Write the list of all files into docs/design.md, each with the first line of its docstring.

``python -m docs.make_tree`` writes it anew; `tests/test_docs.py` holds the page equal to what it makes.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "design.md"
ROOMS = ("agents", "encoders", "foveal_env", "benchmarks", "recipes", "tutorials", "docs", "tests")
BLOCK = re.compile(r"<!-- tree -->\n.*<!-- end of tree -->\n", re.DOTALL)


def page() -> str:
    """Return the page with its list as it should be."""
    lines = [line(ROOT / "train.py", 0)]
    for room in ROOMS:
        if (ROOT / room).is_dir():
            lines += entries(ROOT / room, 0)
    text = "\n".join(lines)
    return BLOCK.sub(lambda _: f"<!-- tree -->\n\n{text}\n\n<!-- end of tree -->\n", PAGE.read_text())


def entries(folder: Path, depth: int) -> list[str]:
    """Return the line of a folder and those of the Python files below it."""
    lines = [line(folder, depth)]
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.suffix == ".py" and path.name != "__init__.py":
            lines.append(line(path, depth + 1))
        elif path.is_dir() and any(path.rglob("*.py")):
            lines += entries(path, depth + 1)
    return lines


def line(path: Path, depth: int) -> str:
    """Return the line of a file, or of a folder that is a package."""
    name = f"**`{path.name}/`**" if path.is_dir() else f"`{path.name}`"
    module = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(module.read_text())) if module.is_file() else None
    first = (text or "").partition("\n")[0]
    return f"{'    ' * depth}- {name}" + (f": {first}" if first else "")


if __name__ == "__main__":
    PAGE.write_text(page())
