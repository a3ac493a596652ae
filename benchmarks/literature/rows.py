"""The rows of the glimpse literature: how each is made. Every setting was chosen on validation scenes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from benchmarks.literature.nets import ConvNet, ViT

AGENT_OPTIONS = {
    "grpo": {"gamma": 0.7},
    "ppo": {"gamma": 0.7},
    "a2c": {"gamma": 0.7},
    "sac": {"gamma": 0.7},
}
BASELINES = ("random", "centre", "raster", "oracle", "greedy_oracle")


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a row is made.

    Args:
        source: name of the source.
        source_options: its options, those of the training split included.
        encoder: options of the encoder multizoom.
        rounds: options of `train.py pretrain` in each round. Between two rounds a policy is trained, which the next
            round follows: the stages alternate.
        between: glimpses of training of that policy.
        glimpses: glimpses after the first look.
        first_look: "centre", or None for no first look, as in the papers.
        budget: glimpses of training of each policy.
        learners: agents that learn on the first perception; on the others only the first of them does.
        reward: reward of the environment, for all learners.
        agent_options: options of each agent, by its name.
        baselines: scripted agents.
        full_image: makers of the nets that read the whole image, by name; one seed of each.
        full_image_minutes: CPU minutes of their training, if pretraining took longer.
        side: side in px of the image that these nets learn on.
        scenes: test scenes, of each canvas.
        canvases: sides in px that everything is tested on; empty if the source has but one.
        perceptions: seeds of pretraining.
        policies: seeds of policy training.
        to_beat: figure of the literature, in words.
    """

    source: str
    source_options: dict[str, Any]
    encoder: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    glimpses: int
    budget: int
    to_beat: str
    side: int
    full_image: dict[str, Callable[[], nn.Module]] = field(default_factory=dict)
    full_image_minutes: float = math.inf
    learners: tuple[str, ...] = ("grpo", "ppo", "a2c", "sac")
    between: int = 400_000
    reward: str = "gain"
    first_look: str | None = "centre"
    agent_options: dict[str, dict[str, Any]] = field(default_factory=lambda: AGENT_OPTIONS)
    baselines: tuple[str, ...] = BASELINES
    scenes: int = 10_000
    canvases: tuple[int, ...] = ()
    perceptions: int = 2
    policies: int = 5


ROWS: dict[str, Row] = {
    "cluttered60": Row(
        source="mnist",
        source_options={"canvas": 60, "clutter": 4, "augment": True},
        encoder={
            "patch": 24, "zooms": 1, "zoom_range": [1.3219, 1.3219], "width": 128, "heads": 4, "state_tokens": 4,
        },
        rounds=(
            {"steps": 30_000, "glimpses": 5, "near_deviation": 0.2, "auxiliary_task": "point"},
            {
                "steps": 10_000, "glimpses": 5, "near_deviation": 0.2, "auxiliary_task": "point",
                "learning_rate": 1e-3,
            },
        ),
        glimpses=5,
        budget=400_000,
        side=60,
        to_beat="2.13 (mean of ten passes; 3,456 px)",
        full_image={"conv net": lambda: ConvNet(1, 10)},
        full_image_minutes=17,
    ),
    "cluttered100": Row(
        source="mnist",
        source_options={"canvas": 100, "clutter": 8, "augment": True},
        encoder={
            "patch": 16, "zooms": 2, "zoom_range": [0.474, 2.0589], "width": 128, "heads": 4, "state_tokens": 4,
        },
        rounds=(
            {"steps": 14_000, "glimpses": 4, "near_deviation": 0.2, "auxiliary_task": "point"},
            {
                "steps": 20_000, "glimpses": 4, "near_deviation": 0.2, "auxiliary_task": "point",
                "learning_rate": 1e-3,
            },
        ),
        glimpses=4,
        budget=400_000,
        side=100,
        to_beat="1.71 (2,880 px)",
        full_image={"conv net": lambda: ConvNet(1, 10)},
        full_image_minutes=23,
    ),
    "ladder": Row(
        source="ladder",
        source_options={"augment": True, "approach": 0.5},
        encoder={
            "patch": 12, "zooms": 6, "zoom_range": [0, 5], "frequencies": 6, "contrast": True, "keypoints": 16,
            "width": 128, "heads": 4, "state_tokens": 4,
        },
        rounds=(
            {"steps": 6_000, "glimpses": 6, "near_deviation": 0.2, "auxiliary_task": "search"},
            {
                "ladder.canvas": [60, 100, 250, 250, 500, 500, 1000, 1000], "steps": 4_500, "glimpses": 8,
                "near_deviation": 0.2, "auxiliary_task": "search", "auxiliary_weight": 1, "learning_rate": 1e-3,
            },
        ),
        between=600_000,
        glimpses=11,
        budget=600_000,
        side=100,
        to_beat="250 px: 12.2 (6,400 px); 1000 px: twice the error at 100 px",
        full_image={"conv net": lambda: ConvNet(1, 10)},
        full_image_minutes=5,
        learners=("grpo",),
        agent_options={
            "greedy_oracle": {"grid": 4},
            "grpo": {
                "gamma": 0.7, "grid": 16, "num_scenes": 64, "group_size": 8, "batch_size": 512, "ent_coef": 0.02,
                "inhibition_radius": 0.1, "imitation": 1,
            },
        },
        scenes=1000,
        canvases=(60, 100, 250, 500, 1000),
        perceptions=1,
    ),
    "imagenette": Row(
        source="imagenette",
        source_options={"augment": True},
        encoder={"patch": 16, "zooms": 2, "zoom_range": [1.5, 2.5], "width": 128, "heads": 4, "state_tokens": 8},
        rounds=({"steps": 4_500, "glimpses": 8, "first_look": None},),
        glimpses=8,
        first_look=None,
        budget=400_000,
        side=160,
        to_beat="random baseline + 3.3 points; ViT of the same width, depth and budget - 2 points",
        full_image={
            "ViT": lambda: ViT(3, 10, side=160, width=128, depth=2, heads=4),
            "conv net": lambda: ConvNet(3, 10),
        },
        learners=("grpo",),
        agent_options={"grpo": {"gamma": 0.7, "grid": 8, "inhibition_radius": 0.3}},
        baselines=("random", "centre", "raster", "spiral", "greedy_oracle"),
        scenes=3925,
        perceptions=1,
    ),
}  # fmt: skip
