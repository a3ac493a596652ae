"""The page of search, prompts and stopping: every table, from results/search.json."""

from typing import Any

import numpy as np

from benchmarks.files import PAGES
from benchmarks.markdown import put_in, table
from benchmarks.search import locate, prompts, several, spatial
from benchmarks.search.ladder import GLIMPSES, by_agent_on
from benchmarks.search.plots import draw_crowds, draw_prompts, plot_ladder, plot_spatial, plot_stop
from benchmarks.statistics import with_interval

PAGE = PAGES / "search.md"
INTERVAL = "±: half width of the 95 % interval over five seeds."
Contents = dict[str, Any]


def ladder_section(contents: Contents) -> str:
    """Return the tables of success and SPL by canvas and agent, and their plot."""
    parts = [ladder_table(contents, "success", "success in %"), ladder_table(contents, "spl", "SPL in %")]
    needed = contents["exhaustive_glimpses"]
    parts.append(
        f"Within {GLIMPSES} glimpses after the first look at the centre. {INTERVAL} "
        "Scenes of each canvas: 1,000, from 2,000 px on 400, at 4,000 px 200; `exhaustive` has 200."
    )
    parts.append(
        table(["`exhaustive`", *[f"{canvas} px" for canvas in needed]], [["glimpses", *map(comma, needed.values())]])
    )
    parts.append("![Success and SPL by canvas](../search_ladder.png)")
    return "\n\n".join(parts)


def comma(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def ladder_table(contents: Contents, key: str, title: str) -> str:
    """Return the table of "success" or "spl"."""
    means, lines = contents[key], []
    runs = {canvas: by_agent_on(contents["ladder"], int(canvas), key) for canvas in means}
    for name in means["250"]:
        cells = [
            with_interval(runs[canvas][name], scale=100, mean=means[canvas][name][0]) if name in means[canvas] else "-"
            for canvas in means
        ]
        lines.append([name, *cells])
    return table([title, *[f"{canvas} px" for canvas in means]], lines)


def prompts_section(contents: Contents) -> str:
    """Return what the prompt changes, in success and in paths."""
    right, wrong = (100 * np.mean(contents[f"success_{name}_prompt"]) for name in ("right", "wrong"))
    success = table(
        ["the prompt names", "success in %"],
        [["the target", f"{right:.1f}"], ["another candidate of the same scene", f"{wrong:.1f}"]],
    )
    lines = []
    for key, name in (
        ("draws", "two draws from one policy"),
        ("crossed", "greedy: two policies, two prompts / two policies, one prompt"),
        ("policies", "greedy: one policy, two prompts / two policies, one prompt"),
    ):
        found = contents["paths"][key]
        cells = (f"{found['two_prompts']:.3f}", f"{found['two_seeds']:.3f}", f"{found['farther']:.0%} of the scenes")
        lines.append([name, *cells, f"{found['wilcoxon_p']:.1g}"])
    paths = table(["mean distance of two paths", "two prompts", "one prompt", "farther apart under two", "p"], lines)
    return "\n\n".join(
        [
            success,
            f"GRPO on {prompts.SCENES:,} test scenes of {prompts.CANVAS} px, means over five policies. "
            f"The wrong prompt costs **{contents['prompt_effect_points']:.1f} points**.",
            paths,
            "Distance of two paths: mean distance between the gazes of the same glimpse, over the glimpses that both "
            "took, in half sides of the image. p: Wilcoxon signed-rank test over scenes, one-sided.",
            "![The same scenes under four prompts](../search_prompts.png)",
        ]
    )


def stop_section(contents: Contents) -> str:
    """Return the accuracy against glimpses over costs."""
    lines = []
    for point in contents["stop_curve"]["test"]:
        cost = "cannot stop" if point["glimpse_cost"] is None else point["glimpse_cost"]
        lines.append([cost, f"{point['glimpses']:.2f}", f"{100 * point['accuracy']:.1f}"])
    caption = (
        "`Classify-v0` on test scenes, means over five policies of each cost. "
        f"The cost {contents['stop_glimpse_cost']} was chosen on validation scenes. It loses "
        f"{contents['stop_accuracy_lost_points']:.1f} points and needs **{contents['stop_glimpse_share']:.0%}** of the "
        "glimpses."
    )
    heads = ["cost of a glimpse, nats", "mean glimpses", "accuracy in %"]
    return f"{table(heads, lines)}\n\n{caption}\n\n![Accuracy against glimpses](../search_stop.png)"


def locate_section(contents: Contents) -> str:
    """Return the median distance by glimpse."""
    rows, lines = contents["locate"], []
    for name in dict.fromkeys(row["agent"] for row in rows):
        own = [row for row in rows if row["agent"] == name]
        median, iou = (np.mean([row[key] for row in own], axis=0) for key in ("median", "iou"))
        lines.append([name, *[f"{value:.2f}" for value in median], f"{iou[-1]:.2f}"])
    caption = (
        f"{locate.SCENES:,} test scenes of {locate.CANVAS} px, means over five seeds. Column 0: after the first look. "
        "Column t: after glimpse t. IoU: mean over scenes after the last glimpse."
    )
    heads = ["median distance in sides of the target", *range(len(rows[0]["median"])), "IoU"]
    return f"{table(heads, lines)}\n\n{caption}"


def several_section(contents: Contents) -> str:
    """Return the accuracy of the shared perception and of each question's own."""
    questions, found = contents["multitask"], contents["several"]
    lines = []
    for title, runs in (
        ("one perception for all: GRPO", [found["all"][question] for question in questions]),
        ("a perception for each: GRPO", [found[question][question] for question in questions]),
    ):
        lines.append([title, *[with_interval(values, scale=100) for values in runs]])
    for name in found["baselines"]["large"]:
        cells = [f"{100 * found['baselines'][question][name]:.1f}" for question in questions]
        lines.append([f"one perception for all: {name}", *cells])
    worst = contents["multitask_worst_points"]
    verdict = (
        f"loses at most **{worst:.1f} points**"
        if worst > 0
        else f"is better on each, by at least **{-worst:.1f} points**"
    )
    caption = (
        f"`Questions-v0`: {several.SCENES:,} test scenes of each question, {several.GLIMPSES} glimpses after the first "
        f"look. {INTERVAL} The shared perception {verdict}. It had {several.STEPS * len(questions):,} updates of "
        f"pretraining, each of the others {several.STEPS:,}: as many for each question. All began with the features of "
        f"`search`. Each policy had {several.BUDGET:,} glimpses of training for each question."
    )
    return f"{table(['accuracy in %', *questions], lines)}\n\n{caption}"


def spatial_section(contents: Contents) -> str:
    """Return success and SPL through a spatial state, by place, rule of success and agent."""
    found = contents["spatial"]
    crowds = [name for name in found if name.startswith("crowd")]
    others = [name for name in found if name not in crowds]
    needed = [[name, contents["sensor_pixels"][name], contents["blind_looks"][name]] for name in found]
    parts = []
    for title, names in (("canvas", others), ("crowd", crowds)):
        for by_rule in ("first hit", "declared"):
            for key, what in (("success", "success in %"), ("after_4", "after 4 glimpses"), ("spl", "SPL in %")):
                measured = [name for name in names if by_rule in found[name]]
                if measured and not (title == "canvas" and key == "after_4"):
                    parts.append(spatial_table(contents, measured, by_rule, key, f"{by_rule}: {what}"))
    parts.append(
        f"Within {spatial.GLIMPSES} glimpses after the first look, on {spatial.SCENES:,} test scenes, at 2,000 px on "
        f"half as many. ±: half width of the 95 % interval over {spatial.SEEDS} policies, or {spatial.DRAWN} seeds of "
        f"a rule that draws. First hit: an episode ends as soon as the point is right. Declared: it ends once "
        f"the head is {100 * spatial.DECLARE:g} % sure of its point, and a false alarm is a failure. `saliency` sees "
        "4,096 px of the whole image before its first glimpse, `own saliency` as many as a look takes. One policy of "
        "each seed looks on every canvas, another one in every crowd. Crowds are on 400 px."
    )
    parts.append(table(["place", "sensor px of a look", "looks that cover it blindly"], needed))
    parts.append("![Success by canvas and by the size of a crowd](../search_spatial.png)")
    parts.append("![The same crowd under four prompts](../crowd_prompts.png)")
    return "\n\n".join(parts)


def spatial_table(contents: Contents, places: list[str], by_rule: str, key: str, title: str) -> str:
    """Return the table of one figure: a line for each agent, a column for each place."""
    runs = [contents["spatial"][place][by_rule] for place in places]
    lines = [[name, *[with_interval(run[name][key], scale=100) for run in runs]] for name in runs[0]]
    return table([title, *places], lines)


SECTIONS = {
    "ladder": ladder_section,
    "prompts": prompts_section,
    "stop": stop_section,
    "locate": locate_section,
    "several": several_section,
    "spatial": spatial_section,
}


def report(contents: Contents) -> None:
    """Write page and plots of what was measured; the drawing of scan paths needs the policies as well."""
    done = contents["commands"]
    if "ladder" in done:
        plot_ladder(contents)
    if "stop" in done:
        plot_stop(contents)
    if "prompts" in done:
        draw_prompts()
    if "spatial" in done:
        plot_spatial(contents)
        draw_crowds()
    for name, section in SECTIONS.items():
        if name in done:
            text = f"{section(contents)}\n\n`{done[name]}` makes it again."
            put_in(PAGE, f"search.{name}", text)
            print(f"{text}\n")
