"""Tables of measured scores for the pages of the environments, from benchmarks/results/."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
BOUNDS = {"oracle", "greedy_oracle"}
SPREAD = "Mean ± standard deviation over seeds. `oracle` knows where the target is: it is a bound, not a competitor."


def scores(name: str) -> str:
    """Return the section on the scores of one id."""
    known = {
        "foveal_env/Classify-v0": classify,
        "foveal_env/Search-v0": search,
        "foveal_env/Locate-v0": locate,
        "foveal_env/Questions-v0": questions,
    }
    return known[name]() if name in known else "Not measured."


def classify() -> str:
    """Return the accuracies of `Classify-v0`."""
    found = read("agents")
    last = found["glimpses"]
    looks = sorted({0, 1, last})
    columns = {f"after glimpse {look}" if look else "first look": look for look in looks}
    rows = [
        [name, len(entries), *(percent([entry["accuracy"][look] for entry in entries]) for look in looks)]
        for name, entries in by_agent(found["rows"]).items()
    ]
    return (
        f"Accuracy in % on {found['scenes']:,} test scenes.\n\n"
        + table(["agent", "seeds", *columns], sorted_by_last(rows))
        + f"\n\n{SPREAD}\n`{found['command']}` makes the figures again. [More on them](../results/agents.md)."
    )


def search() -> str:
    """Return success and SPL of `Search-v0`."""
    found = read("search")
    rows = [entry for entry in found["ladder"] if entry["canvas"] == 250]
    lines = [
        [name, len(entries), percent([e["accuracy"][-1] for e in entries]), percent([e["spl"] for e in entries])]
        for name, entries in by_agent(rows).items()
        if name != "exhaustive"  # takes more glimpses than an episode has
    ]
    return (
        f"Success and SPL in % on {rows[0]['scenes']:,} test scenes.\n\n"
        + table(["agent", "seeds", "success", "SPL"], sorted_by_last(lines, column=2))
        + f"\n\n{SPREAD}\n`{found['commands']['ladder']}` makes the figures again. [More on them](../results/search.md)."
    )


def locate() -> str:
    """Return distances and overlaps of `Locate-v0`."""
    found = read("search")
    lines = [
        [
            name,
            len(entries),
            spread([entry["median"][-1] for entry in entries], 1, 2),
            spread([entry["iou"][-1] for entry in entries], 1, 2),
        ]
        for name, entries in by_agent(found["locate"]).items()
    ]
    return (
        "Median distance in sides of the target, and mean IoU, after the last glimpse, on 1,000 test scenes.\n\n"
        + table(["agent", "seeds", "distance", "IoU"], sorted_by_last(lines))
        + f"\n\n{SPREAD}\n`{found['commands']['locate']}` makes the figures again. [More on them](../results/search.md)."
    )


def questions() -> str:
    """Return the accuracies of `Questions-v0`, by question."""
    found = read("search")
    policies, baselines = found["several"]["all"], found["several"]["controls"]
    names = dict.fromkeys(name for column in baselines.values() for name in column)
    lines = [[name, 1, *(percent([baselines[question][name]]) for question in policies)] for name in names]
    lines.append(["grpo", found["seeds"], *(percent(values) for values in policies.values())])
    return (
        "Accuracy in % on 1,000 test scenes of each question, after the last glimpse.\n\n"
        + table(["agent", "seeds", *policies], lines)
        + f"\n\n{SPREAD}\nOf a count, the target is the whole image, and `oracle` looks at its middle.\n"
        + f"`{found['commands']['several']}` makes the figures again. [More on them](../results/search.md)."
    )


def read(name: str) -> dict[str, Any]:
    """Return the contents of a file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def by_agent(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each agent."""
    return {
        name: [row for row in rows if row["agent"] == name] for name in dict.fromkeys(row["agent"] for row in rows)
    }


def percent(values: Sequence[float]) -> str:
    """Return mean ± deviation in per cent."""
    return spread(values, 100, 1)


def spread(values: Sequence[float], scale: float, digits: int) -> str:
    """Return mean ± standard deviation, or the value alone."""
    mean = f"{scale * fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {scale * stdev(values):.{digits}f}"


def sorted_by_last(rows: list[list[Any]], column: int = -1) -> list[list[Any]]:
    """Return rows by the number in one column, the bounds at the end."""
    return sorted(rows, key=lambda row: (row[0] in BOUNDS, float(row[column].split()[0])))


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, rule: str = "---:") -> str:
    """Return a Markdown table; `rule` aligns all columns but the first, by default to the right."""
    lines = [heads, ["---", *[rule] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)
