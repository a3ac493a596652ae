"""sb3-contrib: a recurrent PPO on the native batch, and TQC as an agent beside the project's own."""

from typing import Any, ClassVar

import gymnasium as gym
import sb3_contrib

import foveal_env
from foveal_agents.base import make_agent
from foveal_agents.rollout import evaluate
from foveal_agents.sb3 import Sb3VecEnv, StableBaselines

envs = Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=16))
sb3_contrib.RecurrentPPO("MlpLstmPolicy", envs, n_steps=8, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(128)


class Tqc(StableBaselines):
    """Truncated quantile critics."""

    algorithm = sb3_contrib.TQC
    defaults: ClassVar[dict[str, Any]] = {"num_envs": 16, "learning_starts": 32, "top_quantiles_to_drop_per_net": 2}


world = foveal_env.make_world()
agent = make_agent(f"{__name__}:Tqc", world)
for logs in agent.train(128):
    print(logs)
print("accuracy by glimpse", evaluate(world, agent, scenes=32).accuracy)
