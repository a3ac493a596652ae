"""The time of a glimpse by size of the image, of mixed sizes, and beside ap_gym."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch

from benchmarks.images.inputs import DEVICE, LAYOUT, glimpse_encoder, noise, random_gazes
from benchmarks.images.timing import seconds
from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.retina import extract


def glimpse_times() -> dict[str, Any]:
    """Time a batch of 64 glimpses of eight zooms of 16 px, by size of the image, and of mixed sizes.

    The sizes take turns in every round, so that a slow moment of the machine hits all of them. Up to 1,024 px there are
    64 pictures; of the larger sizes one is looked at in 64 places, since 64 of them would not fit in memory.
    """
    sizes, gazes = (64, 224, 1024, 4096, 16384), random_gazes(16, 64)
    batches = {}
    for size in sizes:
        pictures = [noise(size, size).to(DEVICE)] * (64 if size <= 1024 else 1)
        batches[str(size)] = Images.prepare(pictures).rows(torch.arange(64) % len(pictures))
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
    encoder = glimpse_encoder()
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


def beside_ap_gym() -> dict[str, Any]:
    """Count the crops a second of 64 images of 224 px, a glimpse of 32 px, here and in ap_gym; grey in both."""
    version, env, crop_alone = ap_gym_environment()
    action = {"action": env.action_space["action"].sample(), "prediction": np.zeros((64, 2), np.float32)}
    layout = Layout(patch=32, zooms=1, zoom_range=(np.log2(7.0), np.log2(7.0)))  # 32 of 224 px
    images = Images.prepare(noise(224, 224)[:1][None].repeat(64, 1, 1, 1).to(DEVICE))
    gazes = random_gazes(64, 64)
    here, step, crop = [], [], []
    for _ in range(9):
        here.append(seconds(lambda: [extract(images, gaze, layout) for gaze in gazes], rounds=1) / len(gazes))
        step.append(seconds(lambda: env.step(action), rounds=1, repeat=8))
        crop.append(seconds(crop_alone, rounds=1, repeat=8))
    rates = {name: 64 / float(np.median(times)) for name, times in (("here", here), ("step", step), ("crop", crop))}
    return {
        "crops_per_second_224": round(rates["here"]),
        "ap_gym": version,
        "ap_gym_steps_per_second": round(rates["step"]),
        "ap_gym_crops_per_second_cropping_alone": round(rates["crop"]),
        "crops_over_ap_gym_224": round(rates["here"] / rates["step"], 1),
        "crops_over_ap_gym_224_cropping_alone": round(rates["here"] / rates["crop"], 1),
    }


def ap_gym_environment() -> tuple[str, Any, Callable[[], Any]]:
    """Return ap_gym's version, 64 of its environments that have begun, and what crops without a step."""
    try:
        ap_gym, image, classification = (
            import_module(f"ap_gym{name}") for name in ("", ".envs.image", ".envs.image_classification")
        )
    except ImportError as error:
        raise SystemExit('this comparison needs ap_gym: pip install -e ".[bench]"') from error

    data = image.CircleSquareDataset(image_shape=(224, 224), object_extents=32)
    config = image.ImagePerceptionConfig(data, sensor_size=(32, 32), step_limit=10**9, prefetch=False)
    env = classification.ImageClassificationVectorEnv(64, config)
    env.reset(seed=0)
    return ap_gym.__version__, env, env._ImageClassificationVectorEnv__image_perception_module._get_obs
