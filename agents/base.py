"""The contract of an agent, and how any agent is rolled out, evaluated and diagnosed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foveal_agents import AGENTS
from foveal_env import checkpoint
from foveal_env.batch import Batch, Columns
from foveal_env.checkpoint import find
from foveal_env.data import Episode
from foveal_env.world import World


class Agent:
    """Base of all agents. A subclass implements `act`, and if it learns `train`, `save` and `load`.

    Args:
        world: what it is made for; agents that learn train on its scenes.
        seed: of everything random in its training.
    """

    is_trainable = False
    is_stochastic = False  # whether even its greedy gaze is drawn at random
    name: str  # as in the registry; set by `make_agent`
    options: dict[str, Any]  # of its constructor; set by `make_agent`
    seconds: float = 0.0  # spent in training so far; this and the next two are kept by whoever calls `train`
    cpu_seconds: float = 0.0  # of all threads
    glimpses: int = 0  # taken in training so far
    can_resume: bool = True  # whether training can go on from what `load` put back

    def __init__(self, world: World, *, seed: int = 0):
        self.world, self.seed = world, seed

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return the next action [B, A] in each episode; a learned policy answers its best guess if `greedy`.

        A gaze [B, 2] will do in any world: it leaves the zoom as it is, and never stops.
        """
        raise NotImplementedError

    def train(self, glimpses: int) -> Iterator[dict[str, float]]:
        """Learn until `glimpses` glimpses were taken in all; yield after each update what there is to log.

        Each yielded dictionary has at least "glimpses", taken so far. To stop is to stop asking. A scripted agent
        yields nothing.
        """
        yield from ()

    def save(self, path: str | os.PathLike) -> None:
        """Save what was learned, and what training needs to go on from here."""
        raise TypeError(f"a {type(self).__name__} agent learns nothing: there is nothing to save")

    def load(self, path: str | os.PathLike) -> None:
        """Put back what `save` saved."""
        raise TypeError(f"a {type(self).__name__} agent learns nothing: there is nothing to load")

    def header(self) -> dict[str, Any]:
        """Return what a saved policy says of itself, as JSON."""
        spent = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "glimpses": self.glimpses}
        made_for = {"perception": self.world.perception.fingerprint, **self.world.rules.of_policies}
        return {"agent": self.name, "options": self.options, "seed": self.seed, **spent, **made_for}


def make_agent(name: str, world: World, *, seed: int = 0, **options: Any) -> Agent:
    """Make an agent by its name in `AGENTS`, or by "module:Class"."""
    agent = AGENTS.make(name, world=world, seed=seed, **options)
    agent.name, agent.options = name, options
    return agent


def load_agent(name: str | os.PathLike, world: World) -> Agent:
    """Make the agent that saved a policy, with what it had learned; a shipped policy by name, any other by its path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no policy has this name, or it is damaged, or was trained on another perception or with other rules.
    """
    path = find(name, package="foveal_agents.pretrained", kind="policy")
    _, header = checkpoint.load(path, "policy")
    here = {"perception": world.perception.fingerprint, **world.rules.of_policies}
    there = {name: header.get(name) for name in here}
    if there != here:
        other = [name for name in here if here[name] != there[name]]
        raise ValueError(
            f"{path} was trained on {', '.join(f'{name}={there[name]}' for name in other)}; this world has "
            f"{', '.join(f'{name}={here[name]}' for name in other)}"
        )
    agent = make_agent(header["agent"], world, seed=header["seed"], **header["options"])
    agent.load(path)
    agent.seconds, agent.glimpses = header["seconds"], header["glimpses"]
    agent.cpu_seconds = header.get("cpu_seconds", 0.0)
    return agent


class Step(NamedTuple):
    """One step of a rollout."""

    before: Episode
    action: Tensor  # [B, A]
    reward: Tensor  # [B]
    after: Episode


@torch.no_grad()
def rollout(
    world: World, agent: Agent, episode: Episode, *, generator: torch.Generator, greedy: bool
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


def evaluate(world: World, agent: Agent, *, scenes: int, seed: int = 0, batch: int = 512) -> Evaluation:
    """Let an agent look at scenes 0 to `scenes` - 1 of the world's split, greedily."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    batches = torch.arange(scenes).split(batch)
    for number, index in enumerate(batches):
        shown = world.scenes(index)
        if number + 1 < len(batches):
            world.prefetch(batches[number + 1])
        episode = world.start(shown)
        steps = list(rollout(world, agent, episode, generator=generator, greedy=True))
        episodes = [steps[0].before, *[step.after for step in steps]]
        parts.append(
            Evaluation(
                correct=torch.stack([episode.outcome.correct for episode in episodes], dim=1),
                loss=torch.stack([episode.outcome.loss for episode in episodes], dim=1),
                gazes=episodes[-1].gazes,
                prediction=episodes[-1].outcome.prediction,
                index=episodes[-1].scenes.index,
                glimpses=episodes[-1].glimpses,
                info=Columns(world.info(episodes[-1])),
            ).to("cpu")
        )
    return Evaluation.cat(parts)


def gaze_statistics(gazes: Tensor) -> dict[str, float]:
    """Return how gazes [S, T, 2 or more], clipped to the image, are distributed; those that are NaN do not count.

    "gaze_spread": standard deviation over scenes of the gaze at each step, averaged over glimpses; 0 means that every
    image is looked at in the same spots. "corner_rate": share of gazes in the outer tenth of both axes.
    """
    gazes = gazes[..., :2].clamp(-1, 1)
    taken = ~gazes[..., 0].isnan()  # [S, T]
    count = taken.sum(dim=0)[:, None]
    mean = gazes.nan_to_num().sum(dim=0) / count.clamp(min=1)
    variance = ((gazes - mean).square().nan_to_num().sum(dim=0) / count.clamp(min=1)).sqrt().mean(dim=1)
    total = taken.sum().clamp(min=1)
    return {
        "gaze_spread": ((variance * count[:, 0]).sum() / total).item(),
        "corner_rate": ((gazes.abs() > 0.9).all(dim=-1).sum() / total).item(),
    }


def collapse(gazes: Tensor) -> str | None:
    """Say in words how a policy with greedy gazes [S, T, 2 or more] has collapsed, or return None."""
    if gazes[..., 0].isnan().all():
        return "collapsed: it never takes a glimpse"
    found = gaze_statistics(gazes)
    if found["corner_rate"] > 0.5:
        return f"collapsed: {found['corner_rate']:.0%} of its gazes are stuck in a corner of the image"
    if found["gaze_spread"] < 0.05:
        return (
            f"collapsed: it looks at the same spots whatever the image (gaze spread {found['gaze_spread']:.3f}"
            " of a half side)"
        )
    return None
