"""The page of images of any size, and its plot."""

from typing import Any

from matplotlib.figure import Figure

from benchmarks.files import DOCS, PAGES
from benchmarks.images.inputs import DEPTH, WIDTH
from benchmarks.markdown import put_in, table
from foveal_agents.plots import save_figure

PAGE = PAGES / "images.md"
FORMATS = {"milliseconds": 1, "gflops": 2, "peak_mb": 0}  # digits after the point
QUANTITIES = {"milliseconds": "latency, ms", "gflops": "GFLOPs", "peak_mb": "peak memory, MB"}
NAMES = {"glimpses": "eight glimpses", "vit": "plain ViT on the whole image"}


def plot(contents: dict[str, Any]) -> None:
    """Draw latency, FLOPs and memory against the size of the image."""
    rows = contents["vit"]
    sizes = [int(size) for size in rows]
    figure = Figure((12, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (key, label) in zip(axes, QUANTITIES.items(), strict=True):
        for (name, shown), colour in zip(NAMES.items(), ("#0072b2", "#d55e00"), strict=True):
            values = [max(rows[str(size)][name][key], 0.1) for size in sizes]
            axis.plot(sizes, values, "o-", color=colour, label=shown)
        axis.set(xscale="log", yscale="log", xlabel="side of the image, px", ylabel=label)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    save_figure(DOCS / "cost.png", figure)


def size_table(contents: dict[str, Any]) -> str:
    """Return the time of 64 glimpses by size of the image."""
    times = contents["milliseconds_by_size"]
    return table(["side of the image", "64 glimpses"], [[f"{size} px", f"{ms:.2f} ms"] for size, ms in times.items()])


def figure_table(contents: dict[str, Any]) -> str:
    """Return the other figures: time, error and memory."""
    slide, encoder = contents["gigapixel"], contents["with_encoder"]
    library = f"over ap_gym {contents['ap_gym']}, 64 images of 224 px"
    lines = [
        ["time at 16,384 px over time at 64 px", f"{contents['time_16384_over_64']} x"],
        ["time at 16,384 px over time at 1,024 px", f"{contents['time_16384_over_1024']} x"],
        ["time at 16,384 px over time at 64 px, with the encoder's step", f"{encoder['ratio']} x"],
        ["time of mixed sizes in one batch over uniform ones", f"{contents['mixed_over_uniform']} x"],
        ["16 px patches a second from 224 px RGB", f"{contents['patches_per_second_224']:,}"],
        [f"32 px crops a second {library}, its steps", f"{contents['crops_over_ap_gym_224']} x"],
        [
            f"32 px crops a second {library}, its cropping alone",
            f"{contents['crops_over_ap_gym_224_cropping_alone']} x",
        ],
        ["error against the exact box average, mean", f"{contents['error_mean'] * 255:.2f}/255"],
        ["error against the exact box average, 99.9th percentile", f"{contents['error_p999'] * 255:.2f}/255"],
        ["memory of a prepared image over its decoded size", f"{contents['memory_over_decoded']} x"],
        ["time to prepare an image over time to decode its JPEG", f"{contents['prepare_over_decode']} x"],
        [f"slide of {slide['megapixels']} megapixels: memory above the start", f"{slide['peak_mb']} MB"],
        [f"slide of {slide['megapixels']} megapixels: first glimpse", f"{slide['first_ms']} ms"],
        [f"slide of {slide['megapixels']} megapixels: later glimpses", f"{slide['warm_ms']} ms"],
    ]
    return table(["what", "measured"], lines)


def scale_table(contents: dict[str, Any]) -> str:
    """Return the accuracy on the same scenes enlarged."""
    scales = contents["accuracy_by_scale"]
    return table(["scale", "accuracy"], [[name, f"{value:.1%}"] for name, value in scales.items()])


def vit_section(contents: dict[str, Any]) -> str:
    """Return the cost of eight glimpses and of a plain ViT by size of the image, and which needs less."""
    rows, lines = contents["vit"], []
    for size, row in rows.items():
        cells = [f"{row[name][key]:,.{digits}f}" for key, digits in FORMATS.items() for name in NAMES]
        lines.append([f"{size} px", *cells])
    heads = [f"{short}, {unit}" for unit in ("ms", "GFLOPs", "MB") for short in ("glimpses", "ViT")]
    caption = (
        "One image, with its preparation: latency, FLOPs of encoder and ViT, peak memory. "
        f"The plain ViT has the encoder's width {WIDTH} and its {DEPTH} layers, and reads the whole image. "
        "The FLOPs of the box averages are not counted. " + " ".join(comparison(rows))
    )
    return f"{table(['side of the image', *heads], lines)}\n\n{caption}"


def comparison(rows: dict[str, Any]) -> list[str]:
    """Say up to which size the plain ViT needs less."""
    said = []
    for key, what in (("milliseconds", "time"), ("gflops", "FLOPs"), ("peak_mb", "memory")):
        less = [size for size, row in rows.items() if row["vit"][key] < row["glimpses"][key]]
        fewer = "fewer" if key == "gflops" else "less"
        if less:
            said.append(f"The ViT needs {fewer} {what} up to {less[-1]} px.")
        else:
            said.append(f"The glimpses need {fewer} {what} at every size.")
    return said


def report(contents: dict[str, Any]) -> None:
    """Write page and plot."""
    plot(contents)
    where = f"{contents['threads']} CPU threads" if contents["device"] == "cpu" else contents["device"]
    again = f"{where}. `{contents['command']}` makes it again."
    picture = "![Latency, FLOPs and memory against the size of the image](../cost.png)"
    put_in(PAGE, "images.size", f"{size_table(contents)}\n\nA batch of 64 glimpses of eight 16 px zooms; {again}")
    put_in(PAGE, "images", f"{figure_table(contents)}\n\n{again}")
    scenes = f"Accuracy of one policy on {contents['accuracy_by_scale_scenes']} test scenes."
    put_in(PAGE, "images.scale", f"{scale_table(contents)}\n\n{scenes}")
    put_in(PAGE, "images.vit", f"{vit_section(contents)}\n\n{picture}")
    print("\n\n".join([size_table(contents), figure_table(contents), scale_table(contents), vit_section(contents)]))
