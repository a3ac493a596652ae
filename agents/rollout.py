"""Agents in worlds: how any agent is rolled out, evaluated and diagnosed."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foveal_agents.base import Agent, AgentWorld
from foveal_agents.policy_files import Policy
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
    """Yield the T steps of episodes that have just started; those that end before stay as they are.

    Raises ValueError if the agent's first action is none.
    """
    for number in range(world.rules.glimpses):
        action = agent.act(world, episode, generator=generator, greedy=greedy)
        if number == 0:
            _check_action(world, agent, episode, action)
        before, (episode, reward) = episode, world.look(episode, action)
        yield Step(before, action, reward, episode)


def _check_action(world: AgentWorld, agent: Agent, episode: Any, action: Tensor) -> None:
    """Raise ValueError unless an agent returned a gaze [B, 2] or an action [B, A], float."""
    sizes = dict.fromkeys((world.rules.action_size, world.rules.gaze_size, 2))
    shapes = [[len(episode.glimpses), size] for size in sizes]
    is_tensor = isinstance(action, Tensor)
    if not is_tensor or not action.is_floating_point() or list(action.shape) not in shapes:
        got = f"{list(action.shape)} {str(action.dtype).removeprefix('torch.')}" if is_tensor else type(action).__name__
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{type(agent).__name__}.act must return an action {wanted} float, got {got}")


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
    figures: Columns  # what the task is measured by (`World.measure`), [S, 1 + T] each; NaN where one does not apply

    @property
    def accuracy(self) -> list[float]:
        """Share of right answers after each look, [1 + T]."""
        return self.correct.double().mean(dim=0).tolist()

    @property
    def mean_loss(self) -> list[float]:
        """Mean loss after each look in nats, [1 + T]."""
        return self.loss.double().mean(dim=0).tolist()


def evaluate(
    world: AgentWorld, agent: Agent, *, scenes: int, seed: int = 0, batch: int = 512, repeat: bool = False
) -> Evaluation:
    """Let an agent look at the first scenes of the world's split, greedily.

    Args:
        world: world to look at.
        agent: agent that looks.
        scenes: number of scenes, S. If scenes are whole images, each counts once: a warning says so if there are fewer.
        seed: seed of what the agent draws.
        batch: scenes that are looked at together.
        repeat: go on with scenes that show the same images again, if there are fewer.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    batches = _indices(world.source, scenes, repeat).split(batch)
    for number, index in enumerate(batches):
        shown = world.scenes(index)
        if number + 1 < len(batches):
            world.prefetch(batches[number + 1])
        steps = list(rollout(world, agent, world.start(shown), generator=generator, greedy=True))
        parts.append(_evaluation(world, [steps[0].before, *[step.after for step in steps]]).to("cpu"))
    return Evaluation.cat(parts)


def _indices(source: Source, scenes: int, repeat: bool) -> Tensor:
    """Return the indices of the scenes that are evaluated, [n] int64; a warning says so if they are fewer than asked.

    What only acts as a source, of a world that shows no images, has as many scenes as are asked for.
    """
    if repeat or not isinstance(source, Source):
        return torch.arange(scenes)
    index = source.sample(scenes)
    if len(index) < scenes:
        warnings.warn(f"asked for {scenes:,} scenes, evaluated {source.sample_text(scenes)}, each once")
    return index


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
        figures=_figures(world, episodes),
    )


def _figures(world: AgentWorld, episodes: list[Episode]) -> Columns:
    """Return what the task measures after each look, [B, 1 + T] each, by name."""
    looks = [world.measure(episode) for episode in episodes]
    return Columns({name: torch.stack([look[name].double() for look in looks], dim=1) for name in looks[0]})


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
        "corner_rate": ((gazes.abs() > 0.9).all(dim=-1).sum().float() / total).item(),
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
