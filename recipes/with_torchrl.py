"""TorchRL: the native batch, a Gaussian policy, and one step of PPO with generalised advantages."""

import gymnasium as gym
import torch
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import foveal_env

gym.register_envs(foveal_env)
# autoreset_mode is "SameStep", the default; "Disabled" works as well, "NextStep" does not
env = GymWrapper(gym.make_vec("foveal_env/Classify-v0", num_envs=8, flat=True))
size = env.observation_spec["observation"].shape[-1]

net = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 4), NormalParamExtractor())
actor = ProbabilisticActor(
    TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"]),
    in_keys=["loc", "scale"],
    distribution_class=TanhNormal,
    return_log_prob=True,
)
critic = ValueOperator(nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 1)), in_keys=["observation"])
data = env.rollout(12, actor, break_when_any_done=False)
GAE(gamma=0.9, lmbda=0.95, value_network=critic)(data)
losses = ClipPPOLoss(actor, critic)(data.detach())
sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
print(data.batch_size, {name: round(value.item(), 3) for name, value in losses.items() if name.startswith("loss_")})
assert data["next", "done"].sum() == 8 * 12 / 4
assert torch.isfinite(data["next", "reward"]).all()
