"""Same image, other question: how the prompt changes where a policy looks and what it finds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from benchmarks.files import measured_once
from benchmarks.search.ladder import policies, search_of, world_of
from benchmarks.search.training import FOLDER
from foveal_agents.base import Agent
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import rollout
from foveal_env.data import Episode, Scenes
from foveal_env.world import World

CANVAS = 250
SCENES = 1000


@torch.no_grad()
def search(world: World, agent: Agent, scenes: Scenes, *, greedy: bool = True, seed: int = 0) -> Episode:
    """Return the last episodes of a search, greedy or drawn from the policy."""
    generator = torch.Generator().manual_seed(seed)
    *_, last = rollout(world, agent, world.start(scenes), generator=generator, greedy=greedy)
    return last.after


def path_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return how far two gaze paths [B, 1 + T, 2] are apart, [B], in half sides of the image.

    The mean distance between the gazes of the same glimpse, over the glimpses that both took; the first look is at the
    centre in both and does not count. NaN where one of them took none.
    """
    return (one - other)[:, 1:, :2].square().sum(dim=-1).sqrt().nanmean(dim=1)


def compare(by_prompt: Sequence[Tensor], by_seed: Sequence[Tensor]) -> dict[str, Any]:
    """Compare how far paths are apart under two prompts and under one, [B] of each policy: means over policies."""
    prompts, seeds = (torch.stack(list(found)).nanmean(dim=0) for found in (by_prompt, by_seed))
    both = ~(prompts.isnan() | seeds.isnan())
    test: Any = stats.wilcoxon(prompts[both].numpy(), seeds[both].numpy(), alternative="greater")
    return {
        "two_prompts": round(prompts[both].mean().item(), 4),
        "two_seeds": round(seeds[both].mean().item(), 4),
        "scenes": int(both.sum()),
        "farther": round((prompts > seeds)[both].float().mean().item(), 4),
        "wilcoxon_p": float(f"{test.pvalue:.3g}"),
    }


def paths_apart(world: World, agents: Sequence[Agent], scenes: Scenes, others: Scenes) -> dict[str, Any]:
    """Compare paths under two prompts with paths under one prompt.

    "policies": greedy ones; two seeds are two policies, trained apart. "crossed": the same, and the paths under two
    prompts are of two policies as well. "draws": of one policy; two seeds are two draws of its gazes, and the paths
    under two prompts are two draws as well.
    """
    greedy = [[search(world, agent, asked).gazes for asked in (scenes, others)] for agent in agents]
    asks = ((scenes, 0), (scenes, 1), (others, 1))
    draws = [[search(world, agent, asked, greedy=False, seed=seed).gazes for asked, seed in asks] for agent in agents]
    pairs = list(zip(greedy, [*greedy[1:], greedy[0]], strict=True))
    by_seed = [path_distance(one, next_one) for (one, _), (next_one, _) in pairs]
    return {
        "policies": compare([path_distance(one, other) for one, other in greedy], by_seed),
        "crossed": compare([path_distance(one, next_other) for (one, _), (_, next_other) in pairs], by_seed),
        "draws": compare(
            [path_distance(one, other) for one, _, other in draws], [path_distance(one, same) for one, same, _ in draws]
        ),
    }


def measure_prompts() -> dict[str, Any]:
    """Return success under the right and under a wrong prompt, and how far the paths are apart."""
    world, index = world_of(CANVAS), torch.arange(SCENES)
    agents = [load_agent(path, world) for path in policies("grpo")]
    scenes, others = (search_of(world).scenes(index, question=question) for question in (0, 1))
    misled = replace(scenes, prompt=others.prompt)
    success = {
        name: [search(world, agent, asked).outcome.correct.float().mean().item() for agent in agents]
        for name, asked in (("right", scenes), ("wrong", misled))
    }
    differences = [100 * (right - wrong) for right, wrong in zip(success["right"], success["wrong"], strict=True)]
    return {
        "prompt_effect_points": round(sum(differences) / len(differences), 2),
        "success_right_prompt": [round(value, 4) for value in success["right"]],
        "success_wrong_prompt": [round(value, 4) for value in success["wrong"]],
        "paths": paths_apart(world, agents, scenes, others),
    }


def measure() -> dict[str, Any]:
    """Return the figures of the prompt."""
    return measured_once(FOLDER / "prompts.json", measure_prompts)
