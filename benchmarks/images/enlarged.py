"""Does a policy do as well on the same scenes enlarged?"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.images.inputs import DEVICE
from foveal_agents.base import make_agent
from foveal_agents.rollout import evaluate
from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.make import make_world
from foveal_env.sources.base import Source
from foveal_env.world import Rules, World

GLIMPSES = 750_592  # of training
FACTORS = (1, 2, 4, 8, 16)


class Enlarged(Source):
    """The scenes of a source, each pixel enlarged to factor x factor."""

    def __init__(self, source: Source, factor: int):
        super().__init__(source.split)
        self.source, self.factor = source, factor
        self.channels, self.classes, self.count = source.channels, source.classes, source.count
        self.prompt_size, self.knows_target = source.prompt_size, source.knows_target

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices, enlarged."""
        scenes = self.source.scenes(index)
        small = torch.stack([scenes.images.pixels(row) for row in range(len(scenes))])
        large = small.repeat_interleave(self.factor, dim=2).repeat_interleave(self.factor, dim=3)
        return replace(scenes, images=Images.prepare(large))


def accuracy_by_scale(scenes: int = 900) -> dict[str, Any]:
    """Train a policy as the main job does, then look at the same test scenes at 1 to 16 times their size."""
    training = make_world(split="train", reward="probability", precision="auto", device=DEVICE)
    agent = make_agent("grpo", training, seed=0)
    for _ in agent.train(GLIMPSES):
        pass
    world, found = make_world(split="test", precision="auto", device=DEVICE), {}
    for factor in FACTORS:
        large = World(Enlarged(world.source, factor), world.perception, Rules(glimpses=world.rules.glimpses))
        accuracy = evaluate(large, agent, scenes=scenes, batch=max(16, 512 // factor**2)).accuracy
        found[f"{factor}x, {140 * factor} px"] = round(accuracy[-1], 4)
    return {"accuracy_by_scale": found, "accuracy_by_scale_scenes": scenes}
