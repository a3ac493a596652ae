"""Any image at constant cost: time, error and memory of glimpses, from 28 px to a gigapixel, beside what people use.

Needs the extra `bench` (`pip install -e ".[bench]"`) and Imagenette-160 under FOVEAL_DATA. Takes about ten minutes.
"""

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import foveal_env.images
from benchmarks import RESULTS, publish
from encoders.base import Layout
from encoders.multizoom import MultiZoom
from foveal_env.images import Images
from foveal_env.retina import extract, patch_squares
from foveal_env.world import World, make_source, make_world

LAYOUT = Layout(patch=16, zooms=8, zoom_range=(0.0, 5.0))
TO_THE_PIXEL = Layout(patch=16, zooms=8, zoom_range=(0.0, 10.5))  # of a slide, down to its own pixels
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTH, DEPTH, HEADS = 96, 2, 3  # of the two encoders that are compared, those of the shipped perception


def seconds(call: Callable[[], Any], *, rounds: int = 9, repeat: int = 1) -> float:
    """Return the median time of a call over rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / repeat)
    return float(np.median(times[1:]))


def random_gazes(count: int, batch: int, seed: int = 0) -> list[Tensor]:
    """Return `count` batches of uniform gazes."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(batch, 2, generator=generator) * 2 - 1).to(DEVICE) for _ in range(count)]


def noise(height: int, width: int) -> Tensor:
    """Return a picture [3, H, W]; what it shows does not change the time."""
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def glimpse_times() -> dict[str, Any]:
    """Time a batch of 64 glimpses of eight zooms of 16 px, by size of the image, and of mixed sizes.

    The sizes take turns in every round, so that a slow moment of the machine hits all of them.
    """
    sizes, gazes = (64, 224, 1024, 4096, 16384), random_gazes(16, 64)
    batches = {}
    for size in sizes:
        batches[str(size)] = Images.prepare([noise(size, size).to(DEVICE)]).rows(torch.zeros(64, dtype=torch.int64))
    several = [64, 96, 128, 160, 224, 320, 512, 640, 768, 1024, 1280, 1536, 2048, 64, 224, 512]
    row = torch.arange(64) % len(several)
    batches["mixed"] = Images.prepare([noise(side, side).to(DEVICE) for side in several]).rows(row)
    for side in set(several):  # as many different pictures, all of one size
        batches[f"uniform {side}"] = Images.prepare([noise(side, side).to(DEVICE) for _ in several]).rows(row)
    rounds: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(8):
        for name, images in batches.items():
            rounds[name].append(seconds(lambda i=images: [extract(i, g, LAYOUT) for g in gazes], rounds=1) / len(gazes))
    times = {name: float(np.median(values[1:])) for name, values in rounds.items()}
    uniform = np.mean([times[f"uniform {side}"] for side in several])
    patches = 64 * LAYOUT.patches
    return {
        "milliseconds_by_size": {str(size): round(times[str(size)] * 1e3, 3) for size in sizes},
        "time_16384_over_64": round(times["16384"] / times["64"], 2),
        "time_16384_over_1024": round(times["16384"] / times["1024"], 2),
        "mixed_over_uniform": round(float(times["mixed"] / uniform), 2),
        "patches_per_second_224": round(patches / times["224"]),
        "with_encoder": glimpse_with_encoder(batches),
    }


@torch.inference_mode()
def glimpse_with_encoder(batches: dict[str, Images]) -> dict[str, float]:
    """Time a whole look: the glimpse and the encoder's step."""
    encoder = MultiZoom(
        patch=16, zooms=8, zoom_range=LAYOUT.zoom_range, channels=3, width=WIDTH, depth=DEPTH, heads=HEADS
    ).to(DEVICE)
    state, gazes = encoder.initial(64), random_gazes(4, 64)
    times: dict[str, list[float]] = {"64": [], "16384": []}
    for _ in range(9):
        for name, values in times.items():
            images = batches[name]
            look = lambda i=images: [encoder.step(state, extract(i, gaze, LAYOUT)) for gaze in gazes]  # noqa: E731
            values.append(seconds(look, rounds=1) / len(gazes))
    small, large = (float(np.median(values[1:])) for values in times.values())
    return {
        "milliseconds_64": round(small * 1e3, 2),
        "milliseconds_16384": round(large * 1e3, 2),
        "ratio": round(large / small, 2),
    }


def beside_ap_gym() -> dict[str, float]:
    """Crops a second of 64 images of 224 px, a glimpse of 32 px, here and in ap_gym; grey in both."""
    try:
        import ap_gym
        from ap_gym.envs.image import CircleSquareDataset, ImagePerceptionConfig
        from ap_gym.envs.image_classification import ImageClassificationVectorEnv
    except ImportError as error:
        raise SystemExit('this comparison needs ap_gym: pip install -e ".[bench]"') from error

    data = CircleSquareDataset(image_shape=(224, 224), object_extents=32)
    config = ImagePerceptionConfig(data, sensor_size=(32, 32), step_limit=10**9, prefetch=False)
    env = ImageClassificationVectorEnv(64, config)
    env.reset(seed=0)
    action = {"action": env.action_space["action"].sample(), "prediction": np.zeros((64, 2), np.float32)}
    layout = Layout(patch=32, zooms=1, zoom_range=(np.log2(7.0), np.log2(7.0)))  # 32 of 224 px
    images = Images.prepare(noise(224, 224)[:1][None].repeat(64, 1, 1, 1).to(DEVICE))
    gazes = random_gazes(64, 64)
    module = env._ImageClassificationVectorEnv__image_perception_module
    here, step, crop = [], [], []
    for _ in range(9):
        here.append(seconds(lambda: [extract(images, gaze, layout) for gaze in gazes], rounds=1) / len(gazes))
        step.append(seconds(lambda: env.step(action), rounds=1, repeat=8))
        crop.append(seconds(module._get_obs, rounds=1, repeat=8))
    rates = {name: 64 / float(np.median(times)) for name, times in (("here", here), ("step", step), ("crop", crop))}
    return {
        "crops_per_second_224": round(rates["here"]),
        "ap_gym": ap_gym.__version__,
        "ap_gym_steps_per_second": round(rates["step"]),
        "ap_gym_crops_per_second_cropping_alone": round(rates["crop"]),
        "crops_over_ap_gym_224": round(rates["here"] / rates["step"], 1),
        "crops_over_ap_gym_224_cropping_alone": round(rates["here"] / rates["crop"], 1),
    }


def photographs(count: int = 24) -> list[Tensor]:
    """Return photographs [3, H, W]: the two of scikit-learn, and test images of Imagenette."""
    from sklearn.datasets import load_sample_images

    found = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in load_sample_images().images]
    images = make_source("imagenette", "test").scenes(torch.arange(0, 40 * count, 40)).images
    return found + [images.pixels(row) for row in range(count)]


def digit_scenes() -> list[Tensor]:
    """Return test scenes [1, S, S] of 60 to 500 px."""
    found = []
    for canvas, clutter in ((60, 4), (100, 8), (140, 14), (500, 200)):
        images = make_source("digits", "test", canvas=canvas, clutter=clutter).scenes(torch.arange(6)).images
        found += [images.pixels(row) for row in range(6)]
    return found


def errors(pictures: list[Tensor], *, gazes: int = 64, seed: int = 0) -> np.ndarray:
    """Return |glimpse - exact box average| of every pixel that shrinks the image, uniform gazes and zooms 0 to 5."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for picture in pictures:
        height, width = picture.shape[1:]
        images, whole = Images.prepare([picture.to(DEVICE)]), picture.double() / 255
        for _ in range(gazes):
            zoom = float(torch.rand((), generator=generator) * 5)
            if min(height, width) / 2**zoom <= LAYOUT.patch:
                continue
            layout = Layout(patch=LAYOUT.patch, zooms=1, zoom_range=(zoom, zoom))
            gaze = torch.rand(1, 2, generator=generator) * 2 - 1
            centre, side = patch_squares(torch.tensor([[height, width]]), gaze, layout)
            step = side.item() / layout.patch
            rows, columns = (
                _shares(centre[0, 0, 1 - axis].item() - side.item() / 2, step, layout.patch, (height, width)[axis])
                for axis in (0, 1)
            )
            exact = rows @ whole @ columns.T
            found.append((extract(images, gaze.to(DEVICE), layout).patches[0, 0].cpu() - exact).abs().flatten())
    return torch.cat(found).numpy()


def _shares(start: float, step: float, boxes: int, count: int) -> Tensor:
    """Return [boxes, count]: the share of each box in each pixel of a line."""
    first = start + step * torch.arange(boxes, dtype=torch.float64)[:, None]
    pixel = torch.arange(count, dtype=torch.float64)
    return (torch.minimum(first + step, pixel + 1) - torch.maximum(first, pixel)).clamp(min=0) / step


def accuracy_of_averages() -> dict[str, Any]:
    """Errors of what ships, and of the same structure with fewer and more texels across a box, with their times."""
    sets = {"photographs": photographs(), "digit scenes": digit_scenes()}
    gazes, table = random_gazes(16, 64), {}
    shipped = foveal_env.images.FINEST
    large = Images.prepare([noise(2048, 2048).to(DEVICE)]).rows(torch.zeros(64, dtype=torch.int64))
    for finest in (1.0, 2.0, 3.0, shipped, 6.0, 8.0):
        foveal_env.images.FINEST = finest
        found = {name: errors(pictures) for name, pictures in sets.items()}
        table[finest] = {
            "mean": {name: float(values.mean()) for name, values in found.items()},
            "p999": {name: float(np.quantile(values, 0.999)) for name, values in found.items()},
            "milliseconds_2048": round(seconds(lambda: [extract(large, g, LAYOUT) for g in gazes]) / 16 * 1e3, 3),
        }
    foveal_env.images.FINEST = shipped
    chosen = table[shipped]
    return {
        "error_mean": round(max(chosen["mean"].values()), 6),
        "error_p999": round(max(chosen["p999"].values()), 6),
        "by_texels_across_a_box": table,
    }


def preparation() -> dict[str, Any]:
    """Memory and time of preparing pictures, against their decoded size and the decoding of their JPEG."""
    ratios, memory = {}, {}
    photos = photographs(8)
    tile = photos[0][:, :427, :427]
    named = {"imagenette 160 px": photos[2], "427 x 640 px": photos[0], "2135 x 2135 px": tile.repeat(1, 5, 5)}
    for name, picture in named.items():
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=90)
        data = file.getvalue()
        decode, prepare = [], []
        upright = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        given = torch.from_numpy(upright).permute(2, 0, 1)  # as the decoder leaves it
        repeat = max(1, 400_000 // upright.size)
        for _ in range(15):
            decode.append(seconds(lambda d=data: np.array(Image.open(io.BytesIO(d))), rounds=1, repeat=repeat))
            prepare.append(seconds(lambda p=given: Images.prepare([p.to(DEVICE)]), rounds=1, repeat=repeat))
        ratios[name] = round(float(np.median(prepare) / np.median(decode)), 3)
        memory[name] = round(Images.prepare([picture]).texels.numel() / picture.numel(), 3)
    return {
        "prepare_over_decode": max(ratios.values()),
        "prepare_over_decode_by_picture": ratios,
        "memory_over_decoded": max(memory.values()),
    }


def write_mosaic(path: Path, across: int) -> None:
    """Write across x across Imagenette squares as a tiled, pyramidal BigTIFF."""
    import tifffile

    source = make_source("imagenette", "train")
    tile, side = 320, across * 160
    half = np.zeros((side // 2, side // 2, 3), np.uint8)

    def finest() -> Any:
        for row in range(0, across, 2):
            which = torch.arange(2 * across) + row * across
            images, _ = source.pictures(which % source.count, which)
            squares = np.stack([images.pixels(number).permute(1, 2, 0).numpy() for number in range(2 * across)])
            band = squares.reshape(2, across, 160, 160, 3).transpose(0, 2, 1, 3, 4).reshape(tile, side, 3)
            half[row * 80 : row * 80 + 160] = band.reshape(160, 2, side // 2, 2, 3).mean((1, 3), dtype=np.float32)
            for column in range(0, side, tile):
                yield np.ascontiguousarray(band[:, column : column + tile])

    options = {"tile": (tile, tile), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    levels = 7
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(finest(), shape=(side, side, 3), dtype=np.uint8, subifds=levels - 1, **options)
        level = half
        for _ in range(levels - 1):
            file.write(level, subfiletype=1, **options)
            height, width = (length // 2 * 2 for length in level.shape[:2])
            level = level[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3), dtype=np.float32)
            level = level.astype(np.uint8)


def look_at_mosaic(path: str) -> dict[str, float]:
    """Open a slide and look at it; in a process of its own, for its memory."""
    from foveal_env.slides import Slide

    extract(Images.prepare(noise(64, 64)[None]), torch.zeros(1, 2), LAYOUT)  # compiled code is loaded
    start_memory = peak_memory(reset=True)
    start = time.perf_counter()
    slide = Slide(path)
    images = Images.prepare([slide])
    gazes = (torch.rand(400, 1, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1).unbind(0)
    extract(images, gazes[0], TO_THE_PIXEL)
    first = time.perf_counter() - start
    times = {}
    for name, layout in (("to_the_pixel", TO_THE_PIXEL), ("zooms_0_to_5", LAYOUT)):
        times[name] = []
        for gaze in gazes:
            start = time.perf_counter()
            extract(images, gaze, layout)
            times[name].append(time.perf_counter() - start)
    warm = times["to_the_pixel"][100:]
    peak = peak_memory()
    return {
        "megapixels": round(slide.size[0] * slide.size[1] / 1e6),
        "peak_mb": round((peak - start_memory) / 1e6),
        "first_ms": round(first * 1e3, 1),
        "warm_ms": round(float(np.median(warm)) * 1e3, 2),
        "warm_ms_95th": round(float(np.quantile(warm, 0.95)) * 1e3, 2),
        "warm_ms_zooms_0_to_5": round(float(np.median(times["zooms_0_to_5"][100:])) * 1e3, 2),
    }


def peak_memory(*, reset: bool = False) -> int:
    """Return the largest resident memory of this process in bytes; `reset` forgets what was before. Linux only."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def gigapixel() -> dict[str, float]:
    """Build a mosaic of 607 megapixels and look at it in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.tif"
        write_mosaic(path, across=154)
        return {**_own_process("look_at_mosaic", str(path)), "file_mb": round(path.stat().st_size / 1e6)}


def _own_process(function: str, *arguments: Any) -> dict[str, float]:
    code = f"import json; from benchmarks.images import {function}; print(json.dumps({function}(*{arguments!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{function}{arguments} failed: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


class PlainViT(nn.Module):
    """A plain ViT that reads the whole image as 16 px tokens, of torch's own layers."""

    def __init__(self, size: int):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 16, stride=16)
        self.position = nn.Parameter(torch.zeros(1, (size // 16) ** 2, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, DEPTH, nn.LayerNorm(WIDTH), enable_nested_tensor=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image [1, 3, S, S] to its mean token."""
        return self.blocks(self.stem(image).flatten(2).mT + self.position).mean(dim=1)


@torch.inference_mode()
def run_vit(size: int) -> dict[str, float]:
    """Time the plain ViT on one image that is decoded already; in a process of its own, for its memory."""
    model, picture = PlainViT(size).eval().to(DEVICE), noise(size, size)
    PlainViT(64).eval().to(DEVICE)(noise(64, 64).to(DEVICE)[None].float())  # its code is loaded
    return _latency(lambda: model(picture.to(DEVICE)[None].float() / 255))


@torch.inference_mode()
def run_glimpses(size: int) -> dict[str, float]:
    """Time eight glimpses on one image that is decoded already, its preparation included."""
    encoder = MultiZoom(
        patch=16, zooms=8, zoom_range=LAYOUT.zoom_range, channels=3, width=WIDTH, depth=DEPTH, heads=HEADS
    ).eval()
    encoder, picture, gazes = encoder.to(DEVICE), noise(size, size), random_gazes(8, 1)

    def look(picture: Tensor) -> Tensor:
        images, state = Images.prepare([picture.to(DEVICE)]), encoder.initial(1)
        for gaze in gazes:
            state = encoder.step(state, extract(images, gaze, LAYOUT))
        return state

    look(noise(64, 64))  # compiled code is loaded
    return _latency(lambda: look(picture))


def _latency(call: Callable[[], Tensor]) -> dict[str, float]:
    before = peak_memory(reset=True)
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    rounds = 1 if first > 20 else 3 if first > 2 else 15
    middle = seconds(call, rounds=rounds) if rounds > 1 else first
    if DEVICE == "cuda":
        return {"milliseconds": middle * 1e3, "peak_mb": torch.cuda.max_memory_allocated() / 1e6}
    return {"milliseconds": middle * 1e3, "peak_mb": (peak_memory() - before) / 1e6}


def flops(size: int) -> dict[str, float]:
    """Count what the two compute, without computing it."""
    with torch.device("meta"), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        torch.backends.mha.set_fastpath_enabled(False)
        vit = PlainViT(size).eval()
        with FlopCounterMode(display=False) as whole:
            vit(torch.zeros(1, 3, size, size))
        torch.backends.mha.set_fastpath_enabled(True)
    encoder = MultiZoom(
        patch=16, zooms=8, zoom_range=LAYOUT.zoom_range, channels=3, width=WIDTH, depth=DEPTH, heads=HEADS
    )
    images = Images.prepare(noise(64, 64)[None])
    with FlopCounterMode(display=False) as eight:
        state = encoder.initial(1)
        for gaze in random_gazes(8, 1):
            state = encoder.step(state, extract(images, gaze.cpu(), LAYOUT))
    return {"vit": whole.get_total_flops(), "glimpses": eight.get_total_flops()}


def beside_a_plain_vit() -> dict[str, Any]:
    """Latency, FLOPs and peak memory of eight glimpses and of a plain ViT of the same width and depth."""
    rows = {}
    for size in (256, 512, 1024, 2048, 4096):
        count = flops(size)
        rows[str(size)] = {
            "glimpses": {**_rounded(_own_process("run_glimpses", size)), "gflops": round(count["glimpses"] / 1e9, 3)},
            "vit": {**_rounded(_own_process("run_vit", size)), "gflops": round(count["vit"] / 1e9, 3)},
        }
    return rows


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in found.items()}


class Enlarged:
    """The scenes of a source, each pixel enlarged to factor x factor."""

    def __init__(self, source: Any, factor: int):
        self._source, self._factor = source, factor
        self.channels, self.prompt_size, self.classes = source.channels, source.prompt_size, source.classes
        self.split, self.count, self.knows_target = source.split, source.count, source.knows_target
        self.waits = False

    def scenes(self, index: Tensor) -> Any:
        """Return the scenes with these indices, enlarged."""
        from dataclasses import replace

        scenes = self._source.scenes(index)
        pictures = torch.stack([scenes.images.pixels(row) for row in range(len(scenes))])
        large = pictures.repeat_interleave(self._factor, dim=2).repeat_interleave(self._factor, dim=3)
        return replace(scenes, images=Images.prepare(large))


def accuracy_by_scale(scenes: int = 900) -> dict[str, Any]:
    """Train a policy as the main job does, then look at the same test scenes at 1 to 16 times their size."""
    from agents.base import evaluate, make_agent

    training = make_world(split="train", reward="probability", precision="auto", device=DEVICE)
    agent = make_agent("grpo", training, seed=0)
    for _ in agent.train(750_592):
        pass
    world, found = make_world(split="test", precision="auto", device=DEVICE), {}
    for factor in (1, 2, 4, 8, 16):
        place = World(Enlarged(world.source, factor), world.perception, glimpses=world.glimpses)
        accuracy = evaluate(place, agent, scenes=scenes, batch=max(16, 512 // factor**2)).accuracy
        found[f"{factor}x, {140 * factor} px"] = round(accuracy[-1], 4)
    return {"accuracy_by_scale": found, "accuracy_by_scale_scenes": scenes}


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw latency and FLOPs against the size of the image."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = results["vit"]
    sizes = [int(size) for size in rows]
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
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
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


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
    return "\n".join([*lines, "", f"{words} `python -m benchmarks.images` makes it again.", "", PICTURE])


PICTURE = "![Latency, FLOPs and memory against the size of the image](docs/cost.png)"


def main() -> None:
    """Measure everything and publish it."""
    parts = [
        glimpse_times,
        beside_ap_gym,
        accuracy_of_averages,
        preparation,
        lambda: {"gigapixel": gigapixel()},
        lambda: {"vit": beside_a_plain_vit()},
        accuracy_by_scale,
    ]
    results: dict[str, Any] = {
        "command": "python -m benchmarks.images",
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for number, part in enumerate(parts, start=1):
        print(f"part {number} of {len(parts)}", file=sys.stderr, flush=True)
        results |= part()
    if DEVICE == "cuda":
        (RESULTS / "images_gpu.json").write_text(json.dumps(results, indent=2) + "\n")
        print(json.dumps(results, indent=2))
        return
    plot(results, Path(__file__).parent.parent / "docs" / "cost.png")
    publish("images", results, table_of(results))


if __name__ == "__main__":
    main()
