"""How an agent learns an image classification of ap_gym: the stages alternate, and every step counts.

It explores at first. Then the perception learns from all episodes so far (stage 1), and GRPO goes on with the gaze on
the frozen perception (stage 2); its episodes are kept for the next stage 1.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.foreign.active_perception import ActivePerceptionWorld, Explorer, Recall
from foveal_agents.base import Agent, make_agent
from foveal_agents.grpo import Grpo
from foveal_agents.rollout import rollout
from foveal_env.perception import Perception
from foveal_env.randomness import seeded

TEST, EXPLORE = 2**40, 2**41  # where seeds begin; an episode depends on all seeds of its batch, and these differ
RECALL_WEIGHT, NOISE = 0.5, 0.01  # NOISE: squared error of a recalled pixel that costs as much as a nat


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training does.

    Args:
        name: id of the environment.
        explored: steps of the exploration.
        rounds: rounds of stage 1 and stage 2.
        steps: steps of GRPO in a round.
        updates: gradient steps of stage 1 in a round; the first has twice as many.
        batch: episodes of a gradient step.
        learning_rate: its peak in stage 1.
        options: options of GRPO.
    """

    name: str
    explored: int
    rounds: int
    steps: int
    updates: int
    batch: int = 128
    learning_rate: float = 2e-3
    options: dict[str, Any]


class Stage1:
    """Learns to classify, and to recall what is seen at other places of the same episode, after every glimpse."""

    def __init__(self, perception: Perception, pixels: int, plan: Plan, seed: int):
        self.perception, self.pixels, self.plan = perception, pixels, plan
        with seeded(seed):
            self.recall = Recall(perception.encoder.state_shape[1], pixels)
        self.parameters = [*perception.parameters(), *self.recall.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, weight_decay=0.01, betas=(0.9, 0.98))
        self.generator = torch.Generator().manual_seed(seed)

    def learn(
        self, episodes: list[tuple[Tensor, Tensor]], updates: int, rate: float, *, encoder: bool = True
    ) -> dict[str, float]:
        """Make gradient steps on episodes, of which the later half counts twice.

        The head learns, and if `encoder` the encoder. The learning rate falls from `rate` to zero. Returns the last
        loss, accuracy and error of the recall.
        """
        observations, labels = (torch.cat(parts) for parts in zip(*episodes, strict=True))
        self.perception.train().requires_grad_(True)
        self.perception.encoder.requires_grad_(encoder)
        for parameter in self.parameters:
            parameter.grad = None
        log: dict[str, float] = {}
        for update in range(updates):
            share = update / updates
            for group in self.optimizer.param_groups:
                group["lr"] = rate * min(1, (update + 1) / 50) * (1 + math.cos(math.pi * share)) / 2
            rows = torch.randint(len(labels), (self.plan.batch,), generator=self.generator)
            rows[::3] = torch.randint(len(labels) // 2, len(labels), (len(rows[::3]),), generator=self.generator)
            loss, log = self.loss(observations[rows], labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
        self.perception.frozen()
        self.perception.__dict__.pop("fingerprint", None)
        return log

    def loss(self, observations: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of episodes [B, T, S], and what there is to log."""
        batch, looks = observations.shape[:2]
        pixels, where = observations[..., : self.pixels], observations[..., self.pixels : self.pixels + 2]
        encoder: Any = self.perception.encoder
        states = encoder.states(pixels, where)
        logits = self.perception.task(states.flatten(0, 1)[:, None])
        right = labels.repeat_interleave(looks)
        other = torch.randint(looks, (batch, looks), generator=self.generator)
        rows = torch.arange(batch)[:, None]
        error = (self.recall(states, where[rows, other]) - pixels[rows, other]).square().mean()
        loss = nn.functional.cross_entropy(logits, right)
        correct = (logits.argmax(dim=1) == right).view(batch, looks)[:, -2].float().mean()
        log = {"loss": loss.item(), "accuracy": correct.item(), "recall": error.sqrt().item()}
        return loss + RECALL_WEIGHT / NOISE * error, log


def new_perception(name: str, seed: int) -> Perception:
    """Return an untrained perception for circles and squares of 28 px, seen 5 px at a time."""
    module = "benchmarks.foreign.active_perception"
    with seeded(seed):
        spec = {
            "encoder": f"{module}:Gather",
            "encoder_config": {"patch": 5, "zooms": 1, "pixel_mean": 0.69, "pixel_deviation": 0.1},
            "task": f"{module}:Read",
            "task_config": {"classes": ["square", "circle"]},
            "environment": name,
        }
        return Perception(spec)


def explore(world: ActivePerceptionWorld, seed: int, steps: int, batch: int = 256) -> None:
    """Play episodes with the explorer."""
    agent = Explorer(world, seed=seed)
    for number in range(math.ceil(steps / world.rules.glimpses / batch)):
        index = EXPLORE + seed * 2**30 + torch.arange(batch) + number * batch
        for _ in rollout(world, agent, world.start(world.scenes(index)), generator=torch.Generator(), greedy=False):
            pass


def learn(plan: Plan, seed: int) -> Iterator[tuple[ActivePerceptionWorld, Grpo, dict[str, Any]]]:
    """Learn; yield world, agent and what there is to log after each round."""
    started = time.process_time()
    perception = new_perception(plan.name, seed).frozen()
    world = ActivePerceptionWorld(plan.name, perception)
    stage1 = Stage1(perception, world.pixels, plan, seed)
    explore(world, seed, plan.explored)
    agent = make_agent("grpo", world, seed=seed, **plan.options)
    assert isinstance(agent, Grpo)
    for number in range(plan.rounds):
        first = not number
        log = stage1.learn(world.episodes, plan.updates * (1 + first), plan.learning_rate * (1 if first else 0.5))
        total, logs = plan.steps * plan.rounds, {}
        for logs in agent.train(total):
            if logs["glimpses"] >= plan.steps * (number + 1):
                break
        if number == plan.rounds - 1:  # the policy keeps the states that it has learned on
            log = stage1.learn(world.episodes, plan.updates, plan.learning_rate / 2, encoder=False)
        seconds = round(time.process_time() - started)
        policy = {name: round(logs[name], 3) for name in ("reward", "accuracy", "gaze_spread")}
        yield world, agent, {"round": number, "steps": world.steps, "cpu_seconds": seconds, "stage1": log, **policy}


def accuracy(world: ActivePerceptionWorld, agent: Agent, episodes: int, *, greedy: bool) -> list[float]:
    """Return the share of right predictions in each of the T steps of fresh episodes, as the environment scores them.

    These episodes are not kept, and their steps do not count.
    """
    steps, kept, right = world.steps, world.episodes, []
    world.episodes = []
    generator = torch.Generator().manual_seed(0)
    for index in (TEST + torch.arange(episodes)).split(512):
        start = world.start(world.scenes(index))
        played = rollout(world, agent, start, generator=generator, greedy=greedy)
        right.append(torch.stack([step.after.outcome.correct for step in played], dim=1))
    world.steps, world.episodes = steps, kept
    return torch.cat(right).double().mean(dim=0).tolist()
