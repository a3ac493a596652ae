"""Group relative policy optimisation of the gaze, all of it but the policy's own net (`foveal_agents.mixture`).

For each scene a group of G traces is rolled out. The return of step t is the discounted sum of the rewards from t to
the end, its advantage the return standardised over the group, for each scene and each step (arXiv 2604.20392; GRPO is
arXiv 2402.03300). The policy then makes several epochs over the rollouts with PPO's clipped ratio. The perception is
frozen, so the states are stored and never computed again.

Left out, and why: a critic (the group is the baseline); generalised advantages (they need a critic); the reference
model and its KL by default (there is no pretrained policy to stay close to; `kl_weight` brings both back, the reference
being the policy before training); rejection of groups with (nearly) equal returns
(exactly equal ones have advantages of 0 by themselves, and a floor for the others measured worse).
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from foveal_agents.base import Agent
from foveal_agents.mixture import MixturePolicy, best, draw, gaze_density, log_likelihood
from foveal_agents.rollout import gaze_statistics, rollout
from foveal_env import checkpoint
from foveal_env.data import Episode
from foveal_env.world import World

TINY = 1e-6


def discounted_returns(rewards: Tensor, gamma: float) -> Tensor:
    """Return the sums [B, T] of `gamma`**k times the reward k steps on, of rewards [B, T]."""
    returns, total = torch.empty_like(rewards), torch.zeros_like(rewards[:, 0])
    for step in reversed(range(rewards.shape[1])):
        total = rewards[:, step] + gamma * total
        returns[:, step] = total
    return returns


def group_advantages(returns: Tensor, active: Tensor) -> Tensor:
    """Standardise returns [scenes, G, T] over the group, for each scene and each step.

    Only traces that have not ended count, `active` [scenes, G, T] bool; of the others the advantage is 0. A floor under
    the deviation, so that scenes which every trace solves weigh less, measured worse: see the table of settings in
    benchmarks/README.md.
    """
    count = active.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (returns - (returns * active).sum(dim=1, keepdim=True) / count) * active
    return centred / ((centred.square().sum(dim=1, keepdim=True) / count).sqrt() + TINY)


class Grpo(Agent):
    """GRPO with a Gaussian-mixture policy.

    Args:
        world: what it trains on.
        seed: of weights, scenes and samples.
        num_scenes: scenes of a batch of rollouts.
        group_size: traces of each scene, G.
        n_epochs: passes over each batch of rollouts.
        batch_size: glimpses of one gradient step.
        learning_rate: of Adam, falling linearly to zero over the training.
        gamma: gamma of later rewards.
        clip_range: largest change of the probability ratio that still has a gradient.
        ent_coef: weight of the policy's entropy, about.
        imitation: weight, when training begins, of the log density of the target's centre at each state that the policy
            comes to (an expert's answer where the learner is, as in DAgger, Ross et al. 2011); it falls linearly to
            zero at half of the training, and rewards alone decide from there. For searches in large images, where
            hardly any gaze of a new policy is rewarded. Needs a source that knows the target; to compare it with agents
            that learn from rewards alone is not fair to them. 0 is none.
        components: Gaussians of the policy, K.
        grid: if above 0, K = grid x grid Gaussians in place of `components`, one for each cell of the image, whose means
            stay in their cells. The policy then learns which cell to look at, from looking at all of them at first:
            for searches, where a Gaussian that moves towards what it has seen finds one thing and never the others.
        inhibition_radius: with a grid, no cell is looked at whose centre is closer than this to an earlier gaze, in half sides
            of the image (inhibition_radius of return, Posner and Cohen 1984): a policy that sees nothing new at a spot would
            look there for ever. 0 is none.
        width: units of its hidden layers.
        ema_decay: share of the averaged weights that each update keeps; greedy gazes come from these (Polyak and
            Juditsky 1992). 0 is the last policy itself. On validation scenes 0.97 gave 95.6 %, the last policy 95.1 %.
        std_start: standard deviation of each Gaussian when training begins, in half sides of the image; None is
            0.2, or with a grid half the side of a cell.
        std_end: the same when it ends; in between it falls linearly. None is half of the first.
    """

    is_trainable = True

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        num_scenes: int = 128,
        group_size: int = 4,
        n_epochs: int = 2,
        batch_size: int = 1024,
        learning_rate: float = 1e-3,
        gamma: float = 0.3,
        clip_range: float = 0.2,
        ent_coef: float = 0.0,
        imitation: float = 0.0,
        components: int = 8,
        grid: int = 0,
        inhibition_radius: float = 0.0,
        width: int = 256,
        ema_decay: float = 0.97,
        std_start: float | None = None,
        std_end: float | None = None,
    ):
        super().__init__(world, seed=seed)
        if group_size < 2:
            raise ValueError(f"a group needs at least 2 traces, got group_size={group_size}")
        numbers = {
            "num_scenes": num_scenes,
            "n_epochs": n_epochs,
            "batch_size": batch_size,
            "components": components,
            "width": width,
        }
        for name, value in {"grid": grid, "inhibition_radius": inhibition_radius, "imitation": imitation}.items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if inhibition_radius and not grid:
            raise ValueError("inhibition_radius needs a grid")
        if imitation and not world.source.knows_target:
            raise ValueError("imitation needs a source that knows where the target is")
        std_start = std_start if std_start is not None else 1 / grid if grid else 0.2
        std_end = std_end if std_end is not None else std_start / 2
        deviations = {"std_start": std_start, "std_end": std_end}
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, value in deviations.items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        self.num_scenes, self.group_size, self.n_epochs, self.batch_size = num_scenes, group_size, n_epochs, batch_size
        self.learning_rate, self.gamma, self.clip_range = learning_rate, gamma, clip_range
        self.ent_coef, self.inhibition_radius = ent_coef, inhibition_radius
        self.std_start, self.std_end = std_start, std_end
        self.imitation, self.remaining = imitation, 1.0  # share of the training that is still to come
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            precision = world.perception.precision
            self.policy = MixturePolicy(
                world.observation_shape,
                components=components,
                grid=grid,
                width=width,
                gaze_size=world.rules.gaze_size,
                stop=world.rules.stop,
                precision=precision,
            )
        self.policy.to(world.device)
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay lies in [0, 1), got {ema_decay}")
        self.ema_decay = ema_decay
        self.average = copy.deepcopy(self.policy).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=learning_rate, fused=True)
        self.deviation = std_start
        self.done, self.acted = 0, 0  # batches of rollouts, and actions in them

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return actions [B, A]; if `greedy` the likeliest of the averaged policy."""
        seen = None
        if self.inhibition_radius:
            seen = self.policy.near(episode.gazes[:, : 1 + int(episode.glimpses.max())], self.inhibition_radius).any(
                dim=1
            )
        choice = (self.average if greedy else self.policy)(world.observe(episode), seen)
        return best(choice) if greedy else draw(choice, self.deviation, generator)

    def updates(self, glimpses: int) -> Iterator[dict[str, float]]:
        """Learn until `glimpses` glimpses were taken in all, in whole batches; yield what there is to log."""
        while self.acted < glimpses:
            self.remaining = 1 - self.acted / glimpses
            self.deviation = self.std_end + (self.std_start - self.std_end) * self.remaining
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * self.remaining
            logs = self._update()
            self.done += 1
            with torch.no_grad():
                for mean, weight in zip(self.average.parameters(), self.policy.parameters(), strict=True):
                    mean.lerp_(weight, 1 - self.ema_decay)
            yield {"glimpses": self.acted, **logs}

    def _draw(self, update: int) -> tuple[torch.Generator, Tensor]:
        """Return the randomness of an update and the scenes that it draws."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + update)
        return generator, torch.randint(2**62, (self.num_scenes,), generator=generator)

    def _update(self) -> dict[str, float]:
        generator, index = self._draw(self.done)
        scenes = self.world.scenes(index)
        self.world.prefetch(self._draw(self.done + 1)[1])
        repeated = torch.arange(self.num_scenes, device=self.world.device).repeat_interleave(self.group_size)
        start = self.world.start(scenes).rows(repeated)
        steps = list(rollout(self.world, self, start, generator=generator, greedy=False))

        rewards = torch.stack([step.reward for step in steps], dim=1)  # [scenes * G, T]
        active = torch.stack([~step.before.ended for step in steps], dim=1)
        groups = (self.num_scenes, self.group_size)
        returns = discounted_returns(rewards, self.gamma).unflatten(0, groups)
        advantages = group_advantages(returns, active.unflatten(0, groups)).flatten()  # [scenes * G * T], as below
        states = torch.stack([self.world.observe(step.before) for step in steps], dim=1).flatten(0, 1)
        actions = torch.stack([step.action for step in steps], dim=1).flatten(0, 1)
        targets = scenes.box[repeated, None, :2].expand(-1, len(steps), -1).flatten(0, 1)
        seen = None
        if self.inhibition_radius:
            near = self.policy.near(steps[-1].before.gazes[:, :-1], self.inhibition_radius)
            seen = (near.cumsum(dim=1, dtype=torch.int16) > 0).flatten(0, 1)  # [scenes * G * T, K]
        if self.world.ends_early:
            acted = active.flatten()
            states, actions, advantages, targets = states[acted], actions[acted], advantages[acted], targets[acted]
            seen = None if seen is None else seen[acted]
        self.acted += len(states)
        logs = self._improve(states, seen, actions, advantages, targets, generator)
        return {
            "reward": rewards.sum(dim=1).mean().item(),
            "accuracy": steps[-1].after.outcome.correct.float().mean().item(),
            "group_spread": returns.std(dim=1, correction=0).mean().item(),
            "deviation": self.deviation,
            **logs,
            **gaze_statistics(steps[-1].after.gazes[:, 1:]),
        }

    def _improve(
        self,
        states: Tensor,
        seen: Tensor | None,
        actions: Tensor,
        advantages: Tensor,
        targets: Tensor,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Make the epochs over one batch of rollouts, [glimpses, ...] each; return what there is to log.

        `targets` [glimpses, 2] are the centres of the targets, which are imitated.
        """
        with torch.no_grad():
            choice = self.policy(states, seen)
            old = log_likelihood(actions, choice, self.deviation)
            entropy = self.policy.entropy(choice, self.deviation).mean().item()
        sums = dict.fromkeys(("clip_fraction", "kl"), 0.0)
        taught = self.imitation * max(0.0, 2 * self.remaining - 1)
        count = 0
        for _ in range(self.n_epochs):
            for rows in torch.randperm(len(states), generator=generator).to(states.device).split(self.batch_size):
                left_out = None if seen is None else seen[rows]
                choice = self.policy(states[rows], left_out)
                log_ratio = log_likelihood(actions[rows], choice, self.deviation) - old[rows]
                ratio = log_ratio.exp()
                clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
                loss = -torch.minimum(ratio * advantages[rows], clipped * advantages[rows]).mean()
                if self.ent_coef:
                    spread = self.policy.entropy(choice, self.deviation)
                    loss = loss - self.ent_coef * spread.mean()
                if taught:
                    loss = loss - taught * gaze_density(targets[rows], choice, self.deviation).mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
                self.optimizer.step()
                sums["clip_fraction"] += ((ratio - 1).abs() > self.clip_range).float().mean().item()
                sums["kl"] += (ratio - 1 - log_ratio).mean().item()
                count += 1
        means = {name: total / count for name, total in sums.items()}
        return {"entropy": entropy, **means}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return policy, averaged policy, optimizer and progress."""
        tensors = checkpoint.prefixed("policy", self.policy.state_dict())
        tensors |= checkpoint.prefixed("average", self.average.state_dict())
        tensors |= checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer))
        return tensors, {"updates": self.done, "deviation": self.deviation}

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        self.policy.load_state_dict(checkpoint.below("policy", tensors))
        self.average.load_state_dict(checkpoint.below("average", tensors))
        checkpoint.restore_optimizer(self.optimizer, checkpoint.below("optimizer", tensors))
        self.done, self.deviation, self.acted = header["updates"], header["deviation"], self.spent.glimpses
