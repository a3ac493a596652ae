"""Same image, other question, other scan path: what the prompt changes in where a policy looks and what it finds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from agents.base import Agent, load_agent, rollout
from benchmarks.search import FOLDER, remembered
from benchmarks.search.ladder import trained, world_of
from foveal_env.sources.base import Scenes
from foveal_env.world import Episode, World

CANVAS = 250
SCENES = 1000


@torch.no_grad()
def searched(world: World, agent: Agent, scenes: Scenes) -> Episode:
    """Return the last episodes of a greedy search."""
    *_, last = rollout(world, agent, world.start(scenes), generator=torch.Generator().manual_seed(0), greedy=True)
    return last.after


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Return how far two gaze paths [B, 1 + T, 2] are apart, [B], in half sides of the image.

    The mean distance between the gazes of the same glimpse, over the glimpses that both took; the first look is at the
    centre in both and does not count. NaN where one of them took none.
    """
    return (one - other)[:, 1:, :2].square().sum(dim=-1).sqrt().nanmean(dim=1)


def paths_apart(world: World, agents: Sequence[Agent], scenes: Scenes, others: Scenes) -> dict[str, Any]:
    """Compare the paths of each policy under two prompts with those of two policies under one prompt."""
    prompts, seeds = [], []
    gazes = [[searched(world, agent, asked).gazes for asked in (scenes, others)] for agent in agents]
    for number, (right, other) in enumerate(gazes):
        prompts.append(apart(right, other))
        seeds.append(apart(right, gazes[(number + 1) % len(gazes)][0]))
    by_prompt, by_seed = (torch.stack(found).nanmean(dim=0) for found in (prompts, seeds))
    both = ~(by_prompt.isnan() | by_seed.isnan())
    test = stats.wilcoxon(by_prompt[both].numpy(), by_seed[both].numpy(), alternative="greater")
    return {
        "distance_two_prompts": round(by_prompt[both].mean().item(), 4),
        "distance_two_seeds": round(by_seed[both].mean().item(), 4),
        "distance_scenes": int(both.sum()),
        "distance_farther": round((by_prompt > by_seed)[both].float().mean().item(), 4),
        "wilcoxon_p": float(f"{test.pvalue:.3g}"),
    }


def measure_prompts() -> dict[str, Any]:
    """Return success under the right and under a wrong prompt, and how far the paths are apart."""
    world, index = world_of(CANVAS), torch.arange(SCENES)
    policies = [load_agent(path, world) for path in trained()["grpo"]]
    scenes, others = (world.source.scenes(index, wanted=wanted) for wanted in (0, 1))
    misled = replace(scenes, prompt=others.prompt)
    success = {
        name: [searched(world, agent, asked).judgement.correct.float().mean().item() for agent in policies]
        for name, asked in (("right", scenes), ("wrong", misled))
    }
    differences = [100 * (right - wrong) for right, wrong in zip(success["right"], success["wrong"], strict=True)]
    return {
        "prompt_effect_points": round(sum(differences) / len(differences), 2),
        "success_right_prompt": [round(value, 4) for value in success["right"]],
        "success_wrong_prompt": [round(value, 4) for value in success["wrong"]],
        **paths_apart(world, policies, scenes, others),
    }


def measure() -> dict[str, Any]:
    """Return the figures of the prompt."""
    return remembered(FOLDER / "prompts.json", measure_prompts)
