"""Environments in processes of their own, started in every way, with torch's own number of threads.

They run in a fresh process with a limit of time, because what fails here waits for ever.
"""

import multiprocessing
import os
import signal
import subprocess
import sys

LIMIT = 240  # s; all of it takes 15 s on an idle machine
METHODS = [m for m in ("fork", "forkserver", "spawn") if m in multiprocessing.get_all_start_methods()]

SCRIPT = """
import sys
import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import SubprocVecEnv
import foveal_env

def make():
    return gym.make("foveal_env/Classify-v0", glimpses=2)

def make_vec(count, **options):
    return gym.make_vec("foveal_env/Classify-v0", num_envs=count, glimpses=2, **options)

def look_apart(method):
    count = 2 if method == "fork" else 1  # others start slowly
    apart = make_vec(count, vectorization_mode="async", vector_kwargs={"context": method})
    together = make_vec(count, autoreset_mode="NextStep")
    assert np.allclose(apart.reset(seed=3)[0], together.reset(seed=3)[0], atol=1e-5)
    for _ in range(4):
        action = together.action_space.sample()
        for mine, theirs in zip(apart.step(action)[:3], together.step(action)[:3]):
            assert np.allclose(mine, theirs, atol=1e-5)
    apart.close()
    assert torch.get_num_threads() > 1  # the parent keeps its own
    print("gymnasium", method, flush=True)

def look_with_baselines(method):
    envs = SubprocVecEnv([make, make], start_method=method)
    envs.reset()
    for _ in range(4):
        envs.step(np.zeros((2, 2), dtype=np.float32))
    envs.close()
    print("stable_baselines3", method, flush=True)

if __name__ == "__main__":
    assert torch.get_num_threads() > 1
    single = make()
    single.reset(seed=0)  # torch's threads have worked before the fork
    single.step(single.action_space.sample())
    for method in sys.argv[1:]:
        look_apart(method)
    if "fork" in sys.argv:
        look_with_baselines("fork")
"""


def test_environments_work_in_processes_of_their_own(tmp_path):
    script = tmp_path / "script.py"  # a file, which children that are not forked import
    script.write_text(SCRIPT)
    threads = str(max(2, os.cpu_count() or 1))
    path = os.pathsep.join(sys.path)
    environ = {**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": path}
    call = [sys.executable, "-W", "ignore", str(script), *METHODS]
    files = {"stdout": tmp_path / "out.txt", "stderr": tmp_path / "error.txt"}
    with files["stdout"].open("w") as out, files["stderr"].open("w") as error:
        process = subprocess.Popen(call, stdout=out, stderr=error, env=environ, start_new_session=True)
        try:
            process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its children
    done = [f"gymnasium {method}" for method in METHODS]
    done += ["stable_baselines3 fork"] if "fork" in METHODS else []
    assert files["stdout"].read_text().splitlines() == done, files["stderr"].read_text()[-2000:]
    assert process.wait(timeout=10) == 0
