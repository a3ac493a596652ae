"""rl-zoo3: its own command line. `--gym-packages foveal_env` makes it know the ids."""

import subprocess
import sys
from pathlib import Path

import rl_zoo3

command = "-m rl_zoo3.train --algo ppo --env foveal_env/Classify-v0 --gym-packages foveal_env -n 64 -f runs/zoo"
options = ["--hyperparams", "n_envs:2", "n_steps:8", "batch_size:16", "policy:'MlpPolicy'", "n_timesteps:64"]
settings = Path("runs/zoo/ppo.yml")  # the zoo's own settings know no foveal id
settings.parent.mkdir(parents=True, exist_ok=True)
settings.write_text("foveal_env/Classify-v0:\n  n_timesteps: 64\n  policy: MlpPolicy\n")
subprocess.run([sys.executable, *command.split(), "--conf-file", str(settings), *options], check=True)
print(sorted(Path("runs/zoo/ppo").glob("*/*.zip")), "by rl_zoo3", rl_zoo3.__version__)
