"""RLlib: PPO on the native batch.

`foveal_env.rllib_env` gives it one axis, which its networks need, and the autoreset mode "NextStep": it assumes that
mode, and does not ask for it. Without `gym_env_vectorize_mode` RLlib steps single environments, one after another.
"""

from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env

import foveal_env

register_env("foveal", foveal_env.rllib_env)
config = (
    PPOConfig()
    .environment("foveal", env_config={"id": "foveal_env/Classify-v0", "glimpses": 4})
    .env_runners(num_env_runners=0, num_envs_per_env_runner=4, gym_env_vectorize_mode="vector_entry_point")
    .training(train_batch_size=64, minibatch_size=32, num_epochs=1)
)
algorithm = config.build_algo()
results = algorithm.train()["env_runners"]
print({key: results[key] for key in ("episode_return_mean", "episode_len_mean")})
assert results["episode_len_mean"] == 4
algorithm.stop()
