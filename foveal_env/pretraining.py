"""Stage 1: encoder and task head learn under random gaze, before any policy exists."""

import math
import os
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from foveal_env import checkpoint
from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.devices import arithmetic
from foveal_env.gaze_law import GazeLaw, PolicyGazes
from foveal_env.perception import ENTRIES, Perception
from foveal_env.randomness import draw_of_update, seeded
from foveal_env.sources.base import Source
from foveal_env.tasks import TASKS
from foveal_env.tasks.base import Task
from foveal_env.trust import check_entries, made_from
from foveal_env.world import Rules, World

WARMUP = 0.05  # share of the updates in which the learning rate rises
WEIGHT_DECAY = 0.05  # of matrices only


class Pretraining:
    """Trains a perception in place; one `update` at a time, resumable to the same result.

    The loss is the plain mean over the looks. The state is detached between them (arXiv 2604.20392 has no
    back-propagation through time). The optimiser is AdamW with a linear warm-up and a cosine to zero.

    Args:
        perception: perception to train.
        source: source of the training scenes.
        law: law of the gazes.
        steps: number of updates.
        batch: scenes of an update.
        glimpses: glimpses at each scene, after the first look.
        first_look: "centre": each scene is first looked at in the centre. None (null on the command line): no first
            look, for worlds without one.
        learning_rate: peak of the learning rate.
        backprop_through_time: back-propagate through the looks at a scene.
        precision: arithmetic of the encoder: "float32", "bfloat16", or "auto" (bfloat16 if the device has it).
        seed: seed of scenes and gazes.
        auxiliary_task: name of a task whose loss is added; its head is thrown away. "point" keeps in the state where
            the target is. A policy needs that; a classifier forgets it.
        auxiliary_weight: weight of that loss.
        policy_gazes: maps B scenes and a generator to the gazes [B, 1 + T, 2] of a policy: the stages alternate.

    Raises ValueError if a number is out of range, or the source does not fit.
    """

    def __init__(
        self,
        perception: Perception,
        source: Source,
        law: GazeLaw = GazeLaw(),
        *,
        steps: int = 8000,
        batch: int = 64,
        glimpses: int = 4,
        first_look: str | None = "centre",
        learning_rate: float = 2e-3,
        backprop_through_time: bool = False,
        precision: str = "auto",
        seed: int = 0,
        auxiliary_task: str | None = None,
        auxiliary_weight: float = 0.3,
        policy_gazes: PolicyGazes | None = None,
    ):
        for name, value in {"steps": steps, "batch": batch}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if policy_gazes is not None and first_look is None:
            raise ValueError("a policy that is followed has a first look in the centre")
        self.world = World(source, perception, Rules(glimpses=glimpses, first_look=first_look, ends_on_success=False))
        self.perception = perception.compute_in(arithmetic(precision, self.world.device))
        self.law, self.policy_gazes = law.for_source(source), policy_gazes
        self.steps, self.batch, self.learning_rate, self.seed = steps, batch, learning_rate, seed
        self.backprop_through_time = backprop_through_time
        self.auxiliary = self._auxiliary_head(auxiliary_task) if auxiliary_task else None
        self.auxiliary_weight = auxiliary_weight
        self.parameters = [*perception.parameters(), *(self.auxiliary.parameters() if self.auxiliary else ())]
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1]},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
        self.done, self.seconds, self.cpu_seconds = 0, 0.0, 0.0  # the last of all threads

    def _auxiliary_head(self, name: str) -> Task:
        kind, source = TASKS.resolve(name), self.world.source
        if kind.needs_target and not source.knows_target:
            raise ValueError(f"the auxiliary task {name!r} needs a source that knows where the target is")
        with seeded(self.seed):
            config = {**kind.config_for(source), **kind.statistics_of(source)}
            return kind(self.perception.encoder.state_shape, **config).to(self.world.device)

    def update(self) -> dict[str, Tensor]:
        """Make one update; return {"loss", "accuracy"}, each [looks], as measured before it."""
        started, started_cpu = time.monotonic(), time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.done)
        generator, index = draw_of_update(self.seed, self.done, self.batch)
        scenes = self.world.scenes(index)
        if self.done + 1 < self.steps:
            self.world.prefetch(draw_of_update(self.seed, self.done + 1, self.batch)[1])
        self.perception.train()
        outcomes, auxiliary = self._look(scenes, generator)
        loss = torch.stack([outcome.loss.mean() for outcome in outcomes])
        total = loss.mean()
        if auxiliary:
            total = total + self.auxiliary_weight * torch.stack(auxiliary).mean()
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.done += 1
        self.seconds += time.monotonic() - started
        self.cpu_seconds += time.process_time() - started_cpu
        accuracy = torch.stack([outcome.correct.float().mean() for outcome in outcomes])
        return {"loss": loss.detach(), "accuracy": accuracy}

    def _look(self, scenes: Scenes, generator: torch.Generator) -> tuple[list[Outcome], list[Tensor]]:
        """Look at scenes; return the outcome after each look, and the mean auxiliary loss after each."""
        progress, encoder = self.done / self.steps, self.perception.encoder
        followed = self.law.draw_policy(self.policy_gazes, scenes, generator)
        episode = self.world.start(scenes)
        outcomes: list[Outcome] = []
        auxiliary: list[Tensor] = []

        def score(episode: Episode) -> None:
            outcomes.append(episode.outcome)
            if self.auxiliary:
                auxiliary.append(self.auxiliary.score(self.auxiliary(episode.state), scenes).loss.mean())

        if self.world.rules.first_look:
            self.law.draw(self.world.source, episode, generator, progress)  # not used: the draws of earlier releases
            score(episode)
        for number in range(1, 1 + self.world.rules.glimpses):
            gaze = self.law.draw(self.world.source, episode, generator, progress)
            if followed is not None:
                gaze = torch.where(followed[:, number].isnan(), gaze, followed[:, number])
            if not self.backprop_through_time:
                episode = replace(episode, state=encoder.detached(episode.state))
            episode, _ = self.world.look(episode, gaze)
            score(episode)
        return outcomes, auxiliary

    def _learning_rate(self, step: int) -> float:
        warm = max(1, round(WARMUP * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))

    def save(self, path: str | os.PathLike) -> None:
        """Save weights, optimizer and progress."""
        tensors = {
            **checkpoint.prefixed("perception", self.perception.state_dict()),
            **checkpoint.prefixed("auxiliary", self.auxiliary.state_dict() if self.auxiliary else {}),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
        }
        spent = {"done": self.done, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        checkpoint.save(path, "pretraining", tensors, {**spent, "spec": self.perception.spec})

    def load(self, path: str | os.PathLike) -> None:
        """Continue from a saved point; ValueError if it is damaged or was made for another perception."""
        tensors, header = checkpoint.load(path, "pretraining")
        check_entries(path, header, {"done": int, "seconds": int | float, "cpu_seconds": int | float, "spec": dict})
        check_entries(path, header["spec"], ENTRIES)
        if header["done"] < 0:
            raise ValueError(f"{path} is damaged: it has made {header['done']} updates")
        with made_from(path):
            self.perception.check_kind(header["spec"], path)
            checkpoint.restore_optimizer(self.optimizer, checkpoint.below("optimizer", tensors))
        checkpoint.restore(self.perception, checkpoint.below("perception", tensors), path)
        if self.auxiliary:
            checkpoint.restore(self.auxiliary, checkpoint.below("auxiliary", tensors), path)
        self.done, self.seconds, self.cpu_seconds = (header[key] for key in ("done", "seconds", "cpu_seconds"))
