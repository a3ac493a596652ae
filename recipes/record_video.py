"""RecordVideo of Gymnasium: an episode as an .mp4 file. It needs the extra `video`."""

from pathlib import Path

import gymnasium as gym
import moviepy  # writes the file; imported by RecordVideo itself
from gymnasium.wrappers import RecordVideo

import foveal_env

gym.register_envs(foveal_env)
env = gym.make("foveal_env/Classify-v0", render_mode="rgb_array")
env = RecordVideo(env, "runs/video", episode_trigger=lambda episode: True)
env.reset(seed=0)
over = False
while not over:
    *_, terminated, truncated, info = env.step(env.action_space.sample())
    over = terminated or truncated
env.close()
videos = sorted(Path("runs/video").glob("*.mp4"))
print(videos, "by moviepy", moviepy.__version__)
assert videos[0].stat().st_size > 1000
