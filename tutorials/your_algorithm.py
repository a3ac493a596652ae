"""Your algorithm: PPO in one file on the native batch, beside baselines.

About 8 seconds on one core.
"""

# %% [markdown]
# # Your learning algorithm
#
# The environments are ordinary Gymnasium environments, so any algorithm for continuous actions can learn in them.
# You will write PPO (arXiv 1707.06347) with torch alone, train it, and compare it with baselines on equal terms.

# %%
import math

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn
from torch.distributions import Normal

import foveal_env  # registers the ids
from foveal_agents.base import Agent, make_agent
from foveal_agents.results import row, table
from foveal_agents.rollout import evaluate
from foveal_env.data import Episode
from foveal_env.world import World

GLIMPSES = 2  # of an episode, after the first look at the centre
ENVS, STEPS, UPDATES = 64, 16, 16  # 16 steps of 64 rows make a rollout; each rollout makes an update
EPOCHS, MINIBATCH, LEARNING_RATE = 4, 256, 1e-3
GAMMA, GAE_LAMBDA, CLIP_RANGE, VALUE_WEIGHT = 0.5, 0.9, 0.2, 0.5
SEED = 0

# %% [markdown]
# ## The batch
#
# `gym.make_vec` returns one environment of 64 rows. A step is one call of the encoder for all of them.
#
# | what | shape | range |
# |---|---|---|
# | observation | [64, N, D] float32 | the encoder's state; no fixed range |
# | action | [64, 2] float32 | the gaze (x, y) in [-1, 1]; values outside are clipped |
# | reward | [64] float64 | the fall of the head's loss in nats |
# | terminated | [64] bool | true at the last glimpse |
# | truncated | [64] bool | never true |
#
# ## When an episode ends
#
# The batch resets itself in the mode `SAME_STEP`. A row that ends returns the first observation of its next episode.
# The last observation of the old episode is in `infos["final_obs"]`, and its info in `infos["final_info"]`.
# Other modes are an option: `autoreset_mode="NextStep"` and `"Disabled"`.
#
# For an algorithm this means two things:
#
# - The value of the returned observation belongs to another episode. It must not count where `terminated` is true.
# - Whether the answer was right is in `infos["final_info"]["is_success"]`, and not in `infos`.
#
# If a row were truncated, the value of its `final_obs` would take the place of what follows. Here no row ever is.

# %%
envs = gym.make_vec("foveal_env/Classify-v0", num_envs=ENVS, glimpses=GLIMPSES)
assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP

first, infos = envs.reset(seed=SEED)
old = infos["scene"]
for _ in range(GLIMPSES):
    observation, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
assert terminated.all()  # all rows began together, and all episodes are equally long
assert (infos["final_info"]["scene"] == old).all()  # the end of the old episodes
assert (infos["scene"] != old).all()  # the observation is of new ones
print("observation", observation.shape, "final_obs of row 0", infos["final_obs"][0].shape)


# %% [markdown]
# ## Actor and critic
#
# The policy is a Gaussian over the gaze. Its mean stays inside the image, and its deviation is learned.


# %%
class Policy(nn.Module):
    """Maps observations [B, N, D] to a mean gaze [B, 2] and a value [B]."""

    def __init__(self, shape: tuple[int, ...], width: int = 128):
        super().__init__()
        size = math.prod(shape)
        last = nn.Linear(width, 2)
        nn.init.orthogonal_(last.weight, 0.1)  # the first gazes are near the centre
        self.actor = nn.Sequential(nn.Flatten(), nn.LayerNorm(size), nn.Linear(size, width), nn.GELU(), last)
        self.critic = nn.Sequential(
            nn.Flatten(), nn.LayerNorm(size), nn.Linear(size, width), nn.GELU(), nn.Linear(width, 1)
        )
        self.log_deviation = nn.Parameter(torch.full((2,), math.log(0.3)))

    def mean(self, observation: Tensor) -> Tensor:
        """Return the mean gaze [B, 2] in (-1, 1)."""
        return self.actor(observation).tanh()

    def gaze(self, observation: Tensor) -> Normal:
        """Return the distribution of the gaze [B, 2]."""
        return Normal(self.mean(observation), self.log_deviation.exp())

    def value(self, observation: Tensor) -> Tensor:
        """Return the expected return [B]."""
        return self.critic(observation).squeeze(-1)


# %% [markdown]
# ## Rollout and advantages
#
# `collect` plays 16 steps in each row. Episodes end within them, and new ones begin.
#
# The advantage is the generalised one of arXiv 1506.02438. `goes_on` is 0 where an episode ends.
# It cuts the sum in two places: the value of the next observation, and the advantages that follow.


# %%
@torch.no_grad()
def collect(policy: Policy, observation: Tensor) -> tuple[dict[str, Tensor], Tensor, float]:
    """Return a rollout [STEPS, ENVS, ...] by name, the observation after it, and the share of right answers."""
    steps, right = [], []
    for _ in range(STEPS):
        gaze = policy.gaze(observation)
        action = gaze.sample()
        after, reward, terminated, truncated, infos = envs.step(action.numpy())
        assert not truncated.any()
        steps.append(
            {
                "observation": observation,
                "action": action,  # as drawn; the environment clips it
                "log_probability": gaze.log_prob(action).sum(dim=-1),
                "value": policy.value(observation),
                "reward": torch.from_numpy(reward).float(),
                "goes_on": torch.from_numpy(~terminated).float(),
            }
        )
        if terminated.any():
            right.append(infos["final_info"]["is_success"][terminated].mean())
        observation = torch.from_numpy(after)
    rollout = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
    return rollout, observation, sum(right) / len(right)


def advantages(rollout: dict[str, Tensor], next_value: Tensor) -> Tensor:
    """Return the generalised advantages [STEPS, ENVS]; `next_value` [ENVS] is of the observation after the rollout."""
    result, advantage = torch.empty_like(rollout["reward"]), torch.zeros(ENVS)
    for step in reversed(range(STEPS)):
        reward, value, goes_on = (rollout[name][step] for name in ("reward", "value", "goes_on"))
        error = reward + GAMMA * goes_on * next_value - value
        advantage = error + GAMMA * GAE_LAMBDA * goes_on * advantage
        result[step], next_value = advantage, value
    return result


# %% [markdown]
# ## Update
#
# The perception is frozen, so the stored observations stay valid. An update never calls the encoder.


# %%
def improve(policy: Policy, optimizer: torch.optim.Optimizer, rollout: dict[str, Tensor], advantage: Tensor) -> None:
    """Make the epochs of PPO over one rollout."""
    data = {name: values.flatten(0, 1) for name, values in rollout.items()}
    advantage = advantage.flatten()
    target = advantage + data["value"]
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(target)).split(MINIBATCH):
            gaze = policy.gaze(data["observation"][rows])
            ratio = (gaze.log_prob(data["action"][rows]).sum(dim=-1) - data["log_probability"][rows]).exp()
            better = (advantage[rows] - advantage[rows].mean()) / (advantage[rows].std() + 1e-8)
            clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE)
            policy_loss = -torch.minimum(ratio * better, clipped * better).mean()
            value_loss = (policy.value(data["observation"][rows]) - target[rows]).square().mean()
            optimizer.zero_grad()
            (policy_loss + VALUE_WEIGHT * value_loss).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()


# %% [markdown]
# ## Train

# %%
torch.manual_seed(SEED)
policy = Policy(first.shape[1:])
optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
observation = torch.from_numpy(envs.reset(seed=SEED)[0])
for update in range(UPDATES):
    optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / UPDATES)
    rollout, observation, accuracy = collect(policy, observation)
    with torch.no_grad():
        advantage = advantages(rollout, policy.value(observation))
    improve(policy, optimizer, rollout, advantage)
    if update % 4 == 0 or update == UPDATES - 1:
        glimpses = (update + 1) * ENVS * STEPS
        print(f"{glimpses:6d} glimpses: {100 * accuracy:.0f} % right, reward {rollout['reward'].mean():.3f} a glimpse")


# %% [markdown]
# ## Compare
#
# An `Agent` that is not trained by the project needs one method. `evaluate` then treats it like every other agent.
# A comparison is fair if all agents have the same perception, the same scenes and the same number of glimpses.
# `split="test"` shows images that no training has used. Scene i is the same image for everyone.


# %%
class Mine(Agent):
    """The policy trained above; it looks at its mean."""

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        return policy.mean(world.observe(episode))


world = foveal_env.make_world(split="test", glimpses=GLIMPSES)
agents = [*(make_agent(name, world, seed=SEED) for name in ("random", "raster", "oracle")), Mine(world, seed=SEED)]
rows = [row(agent, evaluate(world, agent, scenes=720)) for agent in agents]
print("accuracy by glimpse in %; 0 is the first look, at the centre")
print(table({"rows": rows, "glimpses": GLIMPSES}))

# %% [markdown]
# The oracle knows where the digit is, but not which one. The learned policy must find it from the state.
# It has learned something if it beats both rules that do not look at the image.

# %%
last = {entry["agent"]: entry["accuracy"][-1] for entry in rows}
mine = last["__main__:Mine"]
assert mine > max(last["random"], last["raster"]) + 0.04, f"PPO has not learned where to look: {last}"
assert mine < last["oracle"] + 0.02, f"nothing should beat the oracle by much: {last}"

# %% [markdown]
# ## What next
#
# - `updates`, `state` and `restore` of `foveal_agents.base.Agent` add training, saving and resuming to an agent.
#   `foveal policy --agent my_module:Mine` then trains it beside the others.
# - `foveal_agents.grpo` is an algorithm without a critic. It looks at each scene several times.
# - One seed shows that something is learned. Which algorithm is better takes several: `foveal compare --seeds 3`.
