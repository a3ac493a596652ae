"""Agents on the same scenes: baselines once or once for each seed, in batches that memory holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from foveal_agents.base import Agent, make_agent
from foveal_agents.rollout import Evaluation, evaluate
from foveal_env.world import World

BATCH_PIXELS = 2**27  # of the scenes that are held at once


def evaluate_in_batches(world: World, agent: Agent, scenes: int) -> Evaluation:
    """Evaluate an agent with its own seed, with no more scenes at a time than memory holds."""
    side = max(world.source.canvases, default=1)
    return evaluate(world, agent, scenes=scenes, seed=agent.seed, batch=max(4, min(512, BATCH_PIXELS // side**2)))


def baselines(
    world: World, names: Sequence[str], *, seeds: int, options: Mapping[str, dict[str, Any]] | None = None
) -> Iterator[Agent]:
    """Yield baselines, those that draw their gaze once for each seed; `options` are those of each, by its name."""
    for seed in range(seeds):
        for name in names:
            agent = make_agent(name, world, seed=seed, **(options or {}).get(name, {}))
            if agent.is_stochastic or seed == 0:
                yield agent
