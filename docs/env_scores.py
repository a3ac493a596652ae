"""Tables of measured scores for the pages of the environments, from benchmarks/results/."""

from collections.abc import Sequence
from typing import Any

from benchmarks.files import read_results
from benchmarks.markdown import table
from benchmarks.statistics import with_interval

BOUNDS = ("oracle", "greedy_oracle")


def scores(name: str) -> str:
    """Return the section on the scores of one id."""
    known = {
        "foveal_env/Classify-v0": classify,
        "foveal_env/Search-v0": search,
        "foveal_env/Find-v0": lambda: declared("500 px"),
        "foveal_env/Crowd-v0": lambda: declared("crowd of 36"),
        "foveal_env/Locate-v0": locate,
        "foveal_env/Reconstruct-v0": reconstruct,
        "foveal_env/Questions-v0": questions,
    }
    return known[name]() if name in known else "Not measured."


def classify() -> str:
    """Return the accuracies of `Classify-v0`."""
    found = read_results("agents")
    looks = sorted({0, 1, found["glimpses"]})
    rows = [
        [name, len(entries), *(percent([entry["accuracy"][look] for entry in entries]) for look in looks)]
        for name, entries in by_agent(found["rows"]).items()
    ]
    heads = [f"after glimpse {look}" if look else "first look" for look in looks]
    caption = f"Accuracy in % on {found['scenes']:,} test scenes."
    return section(caption, heads, ordered(rows), found["command"], "agents")


def search() -> str:
    """Return success and SPL of `Search-v0`."""
    found = read_results("search")
    entries_of = by_agent([entry for entry in found["ladder"] if entry["canvas"] == 250])
    entries_of.pop("exhaustive", None)  # takes more glimpses than an episode has
    success, spl = (found[key]["250"] for key in ("success", "spl"))  # [mean, deviation] of each agent
    rows = [
        [
            name,
            len(entries),
            percent([entry["accuracy"][-1] for entry in entries], mean=success[name][0]),
            percent([entry["spl"] for entry in entries], mean=spl[name][0]),
        ]
        for name, entries in entries_of.items()
    ]
    caption = f"Success and SPL in % on {entries_of['random'][0]['scenes']:,} test scenes."
    return section(caption, ["success", "SPL"], ordered(rows, column=2), found["commands"]["ladder"], "search")


def declared(place: str) -> str:
    """Return success and SPL of declared searches in a place of `benchmarks.search spatial`."""
    found = read_results("search")
    if "spatial" not in found:
        return "Not measured."
    runs = found["spatial"][place]["declared"]
    rows = [
        [name, len(own["success"]), *(percent(own[key]) for key in ("after_4", "success", "spl"))]
        for name, own in runs.items()
    ]
    caption = "Declared success after 4 and after 12 glimpses, and SPL, in %, on 1,000 test scenes."
    heads = ["after 4", "success", "SPL"]
    return section(caption, heads, ordered(rows, column=3), found["commands"]["spatial"], "search")


def locate() -> str:
    """Return distances and overlaps of `Locate-v0`."""
    found = read_results("search")
    rows = [
        [name, len(entries), *(with_interval([e[key][-1] for e in entries], digits=2) for key in ("median", "iou"))]
        for name, entries in by_agent(found["locate"]).items()
    ]
    caption = "Median distance in sides of the target, and mean IoU, after the last glimpse on 1,000 test scenes."
    return section(caption, ["distance", "IoU"], ordered(rows), found["commands"]["locate"], "search")


def reconstruct() -> str:
    """Return the variance that answers of `Reconstruct-v0` explain."""
    found = read_results("environments")["foveal_env/Reconstruct-v0"]
    rows = [
        [name, len(entries), *(percent([1 - entry["loss"][look] for entry in entries]) for look in (0, -1))]
        for name, entries in by_agent(found["rows"]).items()
    ]
    caption = f"Variance explained, in %, on {found['scenes']:,} test scenes."
    heads = ["first look", "last glimpse"]
    return section(caption, heads, ordered(rows), found["command"], None)


def questions() -> str:
    """Return the accuracies of `Questions-v0`, by question."""
    found = read_results("search")
    policies, baselines = found["several"]["all"], found["several"]["baselines"]
    names = dict.fromkeys(name for column in baselines.values() for name in column)
    rows = [[name, 1, *(percent([baselines[question][name]]) for question in policies)] for name in names]
    rows.append(["grpo", found["seeds"], *map(percent, policies.values())])
    caption = (
        "Accuracy in % after the last glimpse, on 1,000 test scenes of each question.\n"
        "Of a count, the target is the whole image, and `oracle` looks at its middle."
    )
    return section(caption, list(policies), rows, found["commands"]["several"], "search")


def section(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], command: str, page: str | None) -> str:
    """Return a table with its caption, and what makes it again."""
    return f"""{caption}
A figure is a mean over seeds, ± half the width of its 95 % interval.
`oracle` looks near the target, because it knows where it is; `greedy_oracle` tries 25 gazes and takes the best.
Both know the truth, and are no competitors.

{table(["agent", "seeds", *heads], rows)}

`{command}` makes the figures again.{f" [More on them](../results/{page}.md)." if page else ""}"""


def by_agent(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each agent."""
    names = dict.fromkeys(row["agent"] for row in rows)
    return {name: [row for row in rows if row["agent"] == name] for name in names}


def percent(values: Sequence[float], *, mean: float | None = None) -> str:
    """Return shares in per cent, mean ± half width; `mean` is the one to show, if it was rounded before."""
    return with_interval(values, scale=100, mean=mean)


def ordered(rows: list[list[Any]], column: int = -1) -> list[list[Any]]:
    """Return rows by the number in one column, the bounds at the end."""
    return sorted(rows, key=lambda row: (row[0] in BOUNDS, float(row[column].split()[0])))
