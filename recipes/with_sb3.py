"""Stable-Baselines3 on the native batch: normalised observations, evaluation while it trains, saved and loaded."""

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import foveal_env
from foveal_agents.sb3 import Sb3VecEnv

gym.register_envs(foveal_env)


def batch(split: str, num_envs: int) -> VecMonitor:
    """Return a batch of a split; it counts successes."""
    envs = gym.make_vec("foveal_env/Classify-v0", num_envs=num_envs, split=split)
    return VecMonitor(Sb3VecEnv(envs), info_keywords=("is_success",))


train = VecNormalize(batch("train", 32), norm_reward=False)
validation = VecNormalize(batch("validation", 16), norm_reward=False, training=False)  # takes over the statistics
callback = EvalCallback(
    validation, n_eval_episodes=16, eval_freq=8, log_path="runs/sb3", best_model_save_path="runs/sb3", verbose=0
)
model = PPO("MlpPolicy", train, n_steps=8, batch_size=64, seed=0, device="cpu").learn(512, callback=callback)
model.save("runs/sb3/last")
train.save("runs/sb3/statistics.pkl")

test = VecNormalize.load("runs/sb3/statistics.pkl", batch("test", 16))
test.training = test.norm_reward = False
mean, deviation = evaluate_policy(PPO.load("runs/sb3/last", device="cpu"), test, n_eval_episodes=32)
print(f"return {mean:.2f} +- {deviation:.2f}; successes in validation: {callback.evaluations_successes[-1]}")
