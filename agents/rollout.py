"""Agents in worlds: how any agent is rolled out, evaluated and diagnosed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foveal_agents.base import Agent, AgentWorld, Policy
from foveal_env.batch import Batch, Columns
from foveal_env.data import Episode, Scenes
from foveal_env.gaze_law import PolicyGazes
from foveal_env.perception import Perception
from foveal_env.sources.base import Source
from foveal_env.world import Rules, World


class Step(NamedTuple):
    """One step of a rollout."""

    before: Episode
    action: Tensor  # [B, A]
    reward: Tensor  # [B]
    after: Episode


@torch.no_grad()
def rollout(
    world: AgentWorld, agent: Agent, episode: Any, *, generator: torch.Generator, greedy: bool
) -> Iterator[Step]:
    """Yield the T steps of episodes that have just started; those that end before stay as they are."""
    for _ in range(world.rules.glimpses):
        action = agent.act(world, episode, generator=generator, greedy=greedy)
        before, (episode, reward) = episode, world.look(episode, action)
        yield Step(before, action, reward, episode)


@dataclass(frozen=True)
class Evaluation(Batch):
    """What an agent did in S scenes; column 0 is after the first look, column t after glimpse t or the end."""

    correct: Tensor  # [S, 1 + T] bool
    loss: Tensor  # [S, 1 + T] nats
    gazes: Tensor  # [S, 1 + T, 2 or 3], NaN after the end
    prediction: Tensor  # [S, ...], the last one
    index: Tensor  # [S] int64, which scene
    glimpses: Tensor  # [S] int64, taken after the first look
    info: Columns  # what the task tells of the last episode, [S] each

    @property
    def accuracy(self) -> list[float]:
        """Share of right answers after each look, [1 + T]."""
        return self.correct.double().mean(dim=0).tolist()

    @property
    def mean_loss(self) -> list[float]:
        """Mean loss after each look in nats, [1 + T]."""
        return self.loss.double().mean(dim=0).tolist()


def evaluate(world: AgentWorld, agent: Agent, *, scenes: int, seed: int = 0, batch: int = 512) -> Evaluation:
    """Let an agent look at scenes 0 to `scenes` - 1 of the world's split, greedily.

    Args:
        world: world to look at.
        agent: agent that looks.
        scenes: number of scenes, S.
        seed: seed of what the agent draws.
        batch: scenes that are looked at together.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    batches = torch.arange(scenes).split(batch)
    for number, index in enumerate(batches):
        shown = world.scenes(index)
        if number + 1 < len(batches):
            world.prefetch(batches[number + 1])
        steps = list(rollout(world, agent, world.start(shown), generator=generator, greedy=True))
        parts.append(_evaluation(world, [steps[0].before, *[step.after for step in steps]]).to("cpu"))
    return Evaluation.cat(parts)


def _evaluation(world: AgentWorld, episodes: list[Episode]) -> Evaluation:
    """Return what an agent did in a batch of scenes, by its episodes after each look."""
    last = episodes[-1]
    return Evaluation(
        correct=torch.stack([episode.outcome.correct for episode in episodes], dim=1),
        loss=torch.stack([episode.outcome.loss for episode in episodes], dim=1),
        gazes=last.gazes,
        prediction=last.outcome.prediction,
        index=last.scenes.index,
        glimpses=last.glimpses,
        info=Columns(world.info(last)),
    )


def policy_gazes(policy: Policy, source: Source, perception: Perception, *, glimpses: int) -> PolicyGazes:
    """Return what maps B scenes to the gazes [B, 1 + T, 2] of a policy, drawn as in its training.

    The first look is in the centre. After a stop the gazes are NaN.

    Args:
        policy: policy that is followed; it keeps its own rules.
        source: source of the scenes.
        perception: perception that the policy was trained on.
        glimpses: glimpses at each scene after the first look, T.

    Raises ValueError if the policy was trained on another perception, or the perception does not fit the source.
    """
    world = World(source, perception, Rules(glimpses=glimpses, **policy.rules))
    agent = policy.agent(world)

    def gazes(scenes: Scenes, generator: torch.Generator) -> Tensor:
        *_, last = rollout(world, agent, world.start(scenes), generator=generator, greedy=False)
        return last.after.gazes[..., :2]

    return gazes


def gaze_statistics(gazes: Tensor) -> dict[str, float]:
    """Return how gazes [S, T, 2 or more], clipped to the image, are distributed; those that are NaN do not count.

    "gaze_spread": standard deviation over scenes of the gaze at each step, averaged over glimpses; 0 means that every
    image is looked at in the same spots. "corner_rate": share of gazes in the outer tenth of both axes.
    """
    gazes = gazes[..., :2].clamp(-1, 1)
    taken = ~gazes[..., 0].isnan()  # [S, T]
    count = taken.sum(dim=0)[:, None]
    mean = gazes.nan_to_num().sum(dim=0) / count.clamp(min=1)
    deviation = ((gazes - mean).square().nan_to_num().sum(dim=0) / count.clamp(min=1)).sqrt().mean(dim=1)
    total = taken.sum().clamp(min=1)
    return {
        "gaze_spread": ((deviation * count[:, 0]).sum() / total).item(),
        "corner_rate": ((gazes.abs() > 0.9).all(dim=-1).sum() / total).item(),
    }


def collapse(gazes: Tensor) -> str | None:
    """Say in words how a policy with greedy gazes [S, T, 2 or more] has collapsed, or return None."""
    if gazes[..., 0].isnan().all():
        return "collapsed: it never takes a glimpse"
    statistics = gaze_statistics(gazes)
    if statistics["corner_rate"] > 0.5:
        return f"collapsed: {statistics['corner_rate']:.0%} of its gazes are stuck in a corner of the image"
    if statistics["gaze_spread"] < 0.05:
        return (
            f"collapsed: it looks at the same spots whatever the image (gaze spread {statistics['gaze_spread']:.3f}"
            " of a half side)"
        )
    return None
