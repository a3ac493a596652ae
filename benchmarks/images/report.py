"""README's tables and the plot."""

from pathlib import Path
from typing import Any

import matplotlib.figure

from benchmarks.images import DEPTH, WIDTH
from foveal_agents.results import save_figure

PICTURE = "![Latency, FLOPs and memory against the size of the image](docs/cost.png)"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw latency and FLOPs against the size of the image."""
    rows = results["vit"]
    sizes = [int(size) for size in rows]
    figure = matplotlib.figure.Figure((12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    names = {"milliseconds": "latency, ms", "gflops": "GFLOPs", "peak_mb": "peak memory, MB"}
    for axis, (key, label) in zip(axes, names.items(), strict=True):
        for name, colour in (("glimpses", "#0072b2"), ("vit", "#d55e00")):
            shown = "eight glimpses" if name == "glimpses" else "plain ViT on the whole image"
            values = [max(rows[str(size)][name][key], 0.1) for size in sizes]
            axis.plot(sizes, values, "o-", color=colour, label=shown)
        axis.set(xscale="log", yscale="log", xlabel="side of the image, px", ylabel=label)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    save_figure(path, figure)


def table_of(results: dict[str, Any]) -> str:
    """Return README's tables."""
    giga, p = results["gigapixel"], 255
    vit = results["vit"]
    scale = results["accuracy_by_scale"]
    milliseconds = results["milliseconds_by_size"]
    where = f"{results['threads']} CPU threads" if results["device"] == "cpu" else results["device"]
    lines = [
        f"| glimpses of any image, {where} | measured | wanted |",
        "|---|---|---|",
        "| 64 glimpses of eight 16 px zooms, by side of the image | "
        + ", ".join(f"{size} px {value:.2f} ms" for size, value in milliseconds.items())
        + " | |",
        f"| 16,384 px against 64 px / against 1,024 px | {results['time_16384_over_64']} x /"
        f" {results['time_16384_over_1024']} x | at most 1.1 x; small images are cheaper, since they have fewer pixels"
        " than the windows of a glimpse have texels |",
        f"| the same with the encoder's step | {results['with_encoder']['ratio']} x | |",
        f"| mixed sizes in one batch against uniform ones | {results['mixed_over_uniform']} x | at most 1.2 x |",
        f"| 16 px patches a second from 224 px RGB | {results['patches_per_second_224']:,} | at least 500,000 |",
        f"| 32 px crops a second over ap_gym {results['ap_gym']}, 64 images of 224 px |"
        f" {results['crops_over_ap_gym_224']} x its steps, {results['crops_over_ap_gym_224_cropping_alone']} x its"
        " cropping alone | at least 20 x |",
        f"| error against the exact box average, mean and 99.9th percentile | {results['error_mean'] * p:.2f}/255,"
        f" {results['error_p999'] * p:.2f}/255 | 0.5/255, 4/255 |",
        f"| memory of a prepared image over its decoded size | {results['memory_over_decoded']} x | at most 1.5 x |",
        f"| time to prepare over time to decode its JPEG | {results['prepare_over_decode']} x | at most 0.5 x |",
        f"| {giga['megapixels']} megapixel slide: memory above the start, first glimpse, later ones |"
        f" {giga['peak_mb']} MB, {giga['first_ms']} ms, {giga['warm_ms']} ms | 500 MB, 200 ms, 20 ms |",
        "| accuracy on the same test scenes, each pixel repeated | "
        + ", ".join(f"{name}: {value:.1%}" for name, value in scale.items())
        + " | within a point |",
        "",
        "| one image, preparation included | eight glimpses | plain ViT |",
        "|---|---|---|",
    ]
    for size, row in vit.items():
        cells = [
            f"{r['milliseconds']:,.1f} ms, {r['gflops']:,.2f} GFLOPs, {r['peak_mb']:,.0f} MB" for r in row.values()
        ]
        lines.append(f"| {size} px | {' | '.join(cells)} |")
    cheaper = [size for size, row in vit.items() if row["vit"]["milliseconds"] < row["glimpses"]["milliseconds"]]
    vit_name = f"plain ViT (width {WIDTH}, {DEPTH} layers, as the encoder)"
    words = (
        f"The {vit_name} is faster up to {cheaper[-1]} px, the glimpses beyond."
        if cheaper
        else f"Eight glimpses are faster than the {vit_name} at all these sizes."
    )
    for key, what in (("gflops", "fewer FLOPs"), ("peak_mb", "less memory")):
        less = [size for size, row in vit.items() if row["vit"][key] < row["glimpses"][key]]
        words += f" The ViT needs {what} up to {less[-1]} px." if less else f" The glimpses need {what} at all of them."
    words += " The FLOPs are those of the encoder and of the ViT; the averages of boxes are not counted."
    return "\n".join([*lines, "", f"{words} `python -m benchmarks.images` makes it again.", "", PICTURE])
