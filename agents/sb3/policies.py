"""The policy of GRPO for Stable-Baselines3's on-policy algorithms, so that algorithms are compared and not networks."""

import math
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from foveal_agents.map_policy import MapPolicy
from foveal_agents.mixture import Choice, best, draw, gaze_density


class MapActorCritic(ActorCriticPolicy):
    """Draws gazes from a `MapPolicy`, whose summary of all cells a critic reads. The deviation is learned.

    It is not told earlier gazes, because an observation does not hold them; a state that lies on the image does.

    Args:
        observation_space: of the environment.
        action_space: gazes; no stop.
        lr_schedule: learning rate by the share of the training that is left.
        make_net: returns the net.
        told_by: from observations [B, N, D] to what the frozen head says of each cell, [B, K, 3].
        keywords: more of `ActorCriticPolicy`.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Callable[[float], float],
        *,
        make_net: Callable[[], MapPolicy],
        told_by: Callable[[Tensor], Tensor],
        **keywords: Any,
    ):
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[], **keywords)
        self.net, self.told_by = make_net(), told_by
        self.critic = nn.Linear(self.net.mixture.channels, 1)
        nn.init.zeros_(self.critic.weight)
        start = torch.tensor(math.log(self.net.mixture.deviation(remaining=1.0)))
        self.log_std = nn.Parameter(start)
        self.action_net = self.value_net = nn.Identity()  # the base class made linear ones
        settings: dict[str, Any] = {**self.optimizer_kwargs, "lr": lr_schedule(1)}
        self.optimizer = self.optimizer_class(self.parameters(), **settings)

    def _answer(self, observation: Tensor) -> tuple[Choice, Tensor]:
        """Return the choice, and the value [B]."""
        with torch.no_grad():
            told = self.told_by(observation)
        return self.net(observation, None, told), self.critic(self.net.summary(observation, told))

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions [B, A], values [B, 1] and log densities [B]."""
        choice, value = self._answer(obs)
        action = self._act(choice, deterministic)
        return action, value, gaze_density(action, choice, self._deviation())

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return values [B, 1], log densities [B] and entropies [B] of actions [B, A]."""
        choice, value = self._answer(obs)
        return (
            value,
            gaze_density(actions, choice, self._deviation()),
            self.net.entropy(choice, self.log_std.exp().item()),
        )

    def predict_values(self, obs: Any) -> Tensor:
        """Return values [B, 1]."""
        return self._answer(obs)[1]

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self._act(self._answer(observation)[0], deterministic)

    def _act(self, choice: Choice, deterministic: bool) -> Tensor:
        if deterministic:
            return best(choice)
        return draw(choice, self._deviation().item(), torch.default_generator)

    def _deviation(self) -> Tensor:
        return self.log_std.exp()
