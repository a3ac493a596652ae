"""Stage 1: encoder and task head learn under random gaze, before any policy exists."""

import copy
import math
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

from foveal_env import checkpoint
from foveal_env.perception import Perception, arithmetic
from foveal_env.retina import extract
from foveal_env.sources.ahead import Ahead
from foveal_env.sources.base import Scenes, Source
from foveal_env.tasks import TASKS
from foveal_env.world import FIRST_LOOKS


def random_gaze(scenes: Scenes, box: Tensor, generator: torch.Generator, *, near: float, spread: float) -> Tensor:
    """Return gazes [B, 2]: a share `near` of them close to a box, the others uniform over the image.

    Args:
        scenes: B scenes.
        box: [B, 4] the boxes; where they are not known, `near` must be 0.
        generator: source of randomness.
        near: share of the gazes that are normal around the box's centre.
        spread: standard deviation of those, in sides of the box.
    """
    batch, device = len(scenes), scenes.box.device
    uniform = torch.rand(batch, 2, generator=generator).to(device) * 2 - 1
    if not near:
        return uniform
    normal = torch.randn(batch, 2, generator=generator).to(device)
    close = (box[:, :2] + spread * box[:, 2:] * normal).clamp(-1, 1)
    chosen = torch.rand(batch, 1, generator=generator).to(device) < near
    return torch.where(chosen, close, uniform)


class Pretraining:
    """Trains a perception in place; one `update` at a time, resumable to the same result.

    The loss is the plain mean over the looks; the state is detached between them unless `through_time` (arXiv
    2604.20392 has no back-propagation through time). AdamW, with a linear warm-up and a cosine to zero.

    Args:
        perception: what to train.
        source: training scenes.
        steps: number of updates.
        batch: scenes of an update.
        looks: looks at each scene.
        first_look: "centre": the first of them is in the centre; None: it is random as the others, for worlds without
            a first look (null on the command line).
        learning_rate: peak of the learning rate.
        weight_decay: of AdamW, on matrices only.
        warmup: share of the steps in which the learning rate rises.
        near: share of the gazes that are near the target; None is 0.7 where the source knows the target, otherwise 0.
        last_near: that share at the end of the training, reached linearly; None is `near` all the time.
        spread: standard deviation of those around its centre, in sides of the target.
        zoom_reach: shift the zoom of every look but the first by up to this, at random, for agents that choose it.
        through_time: back-propagate through the looks of a scene.
        precision: arithmetic of the encoder: "float32", "bfloat16", or "auto" for the second where it is native.
        seed: of scenes and gazes.
        beside: name of a task whose loss is added, with a head of its own that is thrown away; "point" keeps in the
            state where the target is, which a policy needs and a classifier forgets.
        beside_weight: weight of that loss.
        follow: share of the scenes that are looked at as a policy does (`traces`), not at random.
        traces: maps B scenes and a generator to the gazes [B, looks, 2] of a policy: the stages alternate.
        averaging: share of the averaged weights that each update keeps (Polyak and Juditsky 1992); `trained` has
            these. 0 keeps none: the weights after the last update.
    """

    def __init__(
        self,
        perception: Perception,
        source: Source,
        *,
        steps: int = 8000,
        batch: int = 64,
        looks: int = 5,
        first_look: str | None = "centre",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.05,
        near: float | None = None,
        last_near: float | None = None,
        spread: float = 0.4,
        zoom_reach: float = 0.0,
        through_time: bool = False,
        precision: str = "auto",
        seed: int = 0,
        beside: str | None = None,
        beside_weight: float = 0.3,
        follow: float = 0.5,
        traces: Callable[[Scenes, torch.Generator], Tensor] | None = None,
        averaging: float = 0.0,
    ):
        near = (0.7 if source.knows_target else 0.0) if near is None else near
        last_near = near if last_near is None else last_near
        if (near or last_near) and not source.knows_target:
            raise ValueError("this source does not know where the target is: near must be 0")
        for name, value in {"steps": steps, "batch": batch, "looks": looks}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, value in {"near": near, "last_near": last_near, "follow": follow}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value}")
        if first_look not in FIRST_LOOKS:
            raise ValueError(f"unknown first_look {first_look!r}; known: 'centre', None")
        if traces is not None and first_look is None:
            raise ValueError("a policy that is followed has a first look in the centre")
        if not 0 <= averaging < 1:
            raise ValueError(f"averaging lies in [0, 1), got {averaging}")
        if spread < 0:
            raise ValueError(f"spread must be at least 0, got {spread}")
        perception.check_fits(source)
        self.perception, self.source, self._ahead = perception, source, Ahead(source)
        self.steps, self.batch, self.looks, self.first_look = steps, batch, looks, first_look
        self.learning_rate, self.warmup = learning_rate, warmup
        self.near, self.last_near, self.spread, self.through_time = near, last_near, spread, through_time
        self.follow, self.traces, self.zoom_reach = follow, traces, zoom_reach
        self.precision, self.seed = arithmetic(precision, next(perception.parameters()).device), seed
        self.beside, self.beside_weight = None, beside_weight
        if beside is not None:
            kind = TASKS.resolve(beside)
            if kind.needs_target and not source.knows_target:
                raise ValueError(f"the task {beside!r} beside it needs a source that knows where the target is")
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                self.beside = kind(perception.encoder.state_shape, **kind.describe(source), **kind.measure(source))
            self.beside.to(next(perception.parameters()).device)
        self.averaging = averaging
        self.trained = copy.deepcopy(perception).requires_grad_(False) if averaging else perception
        self.parameters = [*perception.parameters(), *(self.beside.parameters() if self.beside else ())]
        matrices = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.98))
        self.done, self.seconds, self.cpu_seconds = 0, 0.0, 0.0  # the last of all threads

    def update(self) -> dict[str, Tensor]:
        """Make one update; return {"loss", "accuracy"}, each [looks], as measured before it."""
        started, started_cpu = time.monotonic(), time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.done)
        device = next(self.perception.parameters()).device
        generator, index = self._draw(self.done)
        scenes = self._ahead.take(index).to(device)
        if self.done + 1 < self.steps:
            self._ahead.request(self._draw(self.done + 1)[1])
        self.perception.train()
        self.perception.precision = self.precision
        state = self.perception.initial(scenes)
        followed = self._followed(scenes, generator)
        near = self.near + (self.last_near - self.near) * self.done / self.steps
        losses, corrects, asides = [], [], []
        for look in range(self.looks):
            box = self.source.nearby(scenes, generator, self.done / self.steps)
            gaze = random_gaze(scenes, box, generator, near=near, spread=self.spread)
            if followed is not None:
                gaze = torch.where(followed[:, look].isnan(), gaze, followed[:, look])
            shift, fixed = None, look == 0 and self.first_look == "centre"
            if self.zoom_reach:
                shift = torch.rand(len(scenes), generator=generator).to(device) * 2 - 1
                shift = shift * self.zoom_reach * (not fixed)
            glimpse = extract(scenes.images, gaze * 0 if fixed else gaze, self.perception.encoder.layout, shift)
            before = state if self.through_time else self.perception.encoder.detached(state)
            state = self.perception.step(before, glimpse)
            judgement = self.perception.judge(state, scenes)
            losses.append(judgement.loss.mean())
            if self.beside:
                asides.append(self.beside.judge(self.beside(state), scenes).loss.mean())
            corrects.append(judgement.correct.float().mean())
        loss = torch.stack(losses)
        self.optimizer.zero_grad()
        total = loss.mean() + self.beside_weight * torch.stack(asides).mean() if asides else loss.mean()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        if self.averaging:
            kept = min(self.averaging, self.done / (self.done + 10))  # the first weights are soon forgotten
            with torch.no_grad():
                for mean, weight in zip(self.trained.parameters(), self.perception.parameters(), strict=True):
                    mean.lerp_(weight, 1 - kept)
                for mean, buffer in zip(self.trained.buffers(), self.perception.buffers(), strict=True):
                    mean.copy_(buffer)
        self.done += 1
        self.seconds += time.monotonic() - started
        self.cpu_seconds += time.process_time() - started_cpu
        return {"loss": loss.detach(), "accuracy": torch.stack(corrects)}

    def _followed(self, scenes: Scenes, generator: torch.Generator) -> Tensor | None:
        """Return the gazes [B, looks, 2] of the policy, NaN in the scenes that are looked at in random spots."""
        if self.traces is None:
            return None
        gazes = self.traces(scenes, generator)
        chosen = torch.rand(len(scenes), 1, 1, generator=generator).to(gazes.device) < self.follow
        return torch.where(chosen, gazes, torch.nan)

    def _draw(self, update: int) -> tuple[torch.Generator, Tensor]:
        """Return the randomness of an update and the scenes that it draws."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + update)
        return generator, torch.randint(2**62, (self.batch,), generator=generator)

    def _learning_rate(self, step: int) -> float:
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))

    def save(self, path: str | os.PathLike) -> None:
        """Save weights, optimizer and progress."""
        tensors = {
            **checkpoint.prefixed("perception", self.perception.state_dict()),
            **checkpoint.prefixed("trained", self.trained.state_dict() if self.averaging else {}),
            **checkpoint.prefixed("beside", self.beside.state_dict() if self.beside else {}),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
        }
        spent = {"done": self.done, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        checkpoint.save(path, "pretraining", tensors, {**spent, "spec": self.perception.spec})

    def load(self, path: str | os.PathLike) -> None:
        """Continue from a saved point; ValueError if it was made for another perception."""
        tensors, header = checkpoint.load(path, "pretraining")
        self.perception.check_kind(header["spec"], path)
        self.perception.load_state_dict(checkpoint.below("perception", tensors))
        if self.averaging:
            checkpoint.restore(self.trained, checkpoint.below("trained", tensors), path)
        if self.beside:
            checkpoint.restore(self.beside, checkpoint.below("beside", tensors), path)
        checkpoint.restore_optimizer(self.optimizer, checkpoint.below("optimizer", tensors))
        self.done, self.seconds, self.cpu_seconds = (header.get(key, 0.0) for key in ("done", "seconds", "cpu_seconds"))
