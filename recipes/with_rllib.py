"""RLlib: PPO on single environments that it makes itself.

The id has the prefix "foveal_env:", so that a remote worker imports what registers it. RLlib's networks take one axis.
For the native batch RLlib needs `autoreset_mode="NextStep"`: it assumes that mode, and does not ask for it.
"""

from ray.rllib.algorithms.ppo import PPOConfig

config = (
    PPOConfig()
    .environment("foveal_env:foveal_env/Classify-v0", env_config={"glimpses": 4, "flat": True})
    .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    .training(train_batch_size=64, minibatch_size=32, num_epochs=1)
)
algorithm = config.build_algo()
results = algorithm.train()["env_runners"]
print({key: results[key] for key in ("episode_return_mean", "episode_len_mean")})
assert results["episode_len_mean"] == 4
algorithm.stop()
