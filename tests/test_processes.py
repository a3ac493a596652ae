"""Environments in processes of their own, started in every way, with torch's own number of threads.

Each case runs in a fresh process with a limit of time, because what fails here waits for ever.
"""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

LIMIT = 240  # s; a case takes 5 to 10 s on an idle machine
METHODS = [m for m in ("fork", "forkserver", "spawn") if m in multiprocessing.get_all_start_methods()]

VECTOR = """
import sys
import gymnasium as gym
import numpy as np
import torch
import foveal_env

if __name__ == "__main__":
    assert torch.get_num_threads() > 1
    single = gym.make("foveal_env/Classify-v0", glimpses=2)
    single.reset(seed=0)  # torch's threads have worked before the fork
    single.step(single.action_space.sample())
    make = lambda **options: gym.make_vec("foveal_env/Classify-v0", num_envs=2, glimpses=2, **options)
    apart = make(vectorization_mode="async", vector_kwargs={"context": sys.argv[1]})
    together = make(autoreset_mode="NextStep")
    assert np.allclose(apart.reset(seed=3)[0], together.reset(seed=3)[0], atol=1e-5)
    for _ in range(4):
        action = together.action_space.sample()
        for mine, theirs in zip(apart.step(action)[:3], together.step(action)[:3]):
            assert np.allclose(mine, theirs, atol=1e-5)
    apart.close()
    assert torch.get_num_threads() > 1  # the parent keeps its own
    print("done")
"""

BASELINES = """
import sys
import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv
import foveal_env

def make():
    return gym.make("foveal_env/Classify-v0", glimpses=2)

if __name__ == "__main__":
    make().reset(seed=0)
    envs = SubprocVecEnv([make, make], start_method=sys.argv[1])
    envs.reset()
    for _ in range(4):
        envs.step(np.zeros((2, 2), dtype=np.float32))
    envs.close()
    print("done")
"""


CASES = [pytest.param(VECTOR, method, id=f"gymnasium-{method}") for method in METHODS]
CASES += [pytest.param(BASELINES, "fork", id="stable_baselines3-fork")] if "fork" in METHODS else []


@pytest.mark.parametrize(("code", "method"), CASES)
def test_environments_work_in_processes_of_their_own(code, method, tmp_path):
    script = tmp_path / "script.py"  # a file, which children that are not forked import
    script.write_text(code)
    threads = str(max(2, os.cpu_count() or 1))
    environ = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-W", "ignore", str(script), method]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(call, **pipes, env=environ, start_new_session=True) as process:
        try:
            out, error = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its children
            pytest.fail(f"hung for {LIMIT} s")
    assert out.endswith("done\n"), error[-2000:]
