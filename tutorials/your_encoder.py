"""Your encoder: write it, check it, pretrain it, and let agents look through it.

About 8 seconds on one core.
"""

# %% [markdown]
# # Your encoder
#
# An encoder turns glimpses into a state. It is pretrained with the head of a task, and then frozen.
# Agents see its state and nothing else.
#
# You will write an encoder, check its contract, pretrain it on handwritten digits, and make an environment with it.

# %%
from pathlib import Path

import gymnasium as gym
import torch
from torch import Tensor, nn

import foveal_env  # registers the ids
from foveal_agents.base import make_agent
from foveal_agents.plots import plot_accuracy
from foveal_agents.results import results, row, table
from foveal_agents.rollout import evaluate
from foveal_encoders.base import Encoder, Glimpse, Inputs, Layout
from foveal_env.pretraining import Pretraining

FOLDER = Path("runs/your_encoder")
DIGITS = {"canvas": 80, "clutter": 4, "augment": True}  # options of the scenes
SEED = 0

# %% [markdown]
# ## What an encoder is given
#
# A `Layout` says which patches one look takes. Here they are two squares around the gaze, each resized to 10 x 10 px.
# A patch of zoom z covers a square of min(H, W) / 2^z px of the image.
#
# A `Glimpse` is what one look at each of B images returns:
#
# | field | shape | range |
# |---|---|---|
# | `patches` | [B, K, C, P, P] float32 | 0 to 1; 0 outside the image |
# | `where` | [B, K, 3] float32 | (x, y, z) of each patch's own centre; (-1, -1) is the top-left corner |
#
# K is the number of patches, C the number of channels, and P the side of a patch in px.
# The size of the image does not matter to these shapes.

# %%
layout = Layout(patch=10, zooms=2, zoom_range=(0.0, 1.5))
source = foveal_env.make_source("digits", "train", **DIGITS)
scenes = source.scenes(torch.arange(5))
glimpse = foveal_env.extract(scenes.images, gaze=torch.zeros(5, 2), layout=layout)
print("patches", list(glimpse.patches.shape), "from", glimpse.patches.min().item(), "to", glimpse.patches.max().item())
print("where of the first image", glimpse.where[0].tolist())

# %% [markdown]
# ## The encoder
#
# A subclass sets `state_shape`, (N, D), and implements `step`. Whatever it remembers is in the state, [B, N, D].
# `Inputs` tells the channels, the size of the prompt, and the mean and the deviation of the pixels.
#
# This encoder adds up evidence. Each glimpse contributes D numbers, and a gate decides how much of each counts.
# The head of `classify` is a linear layer on token 0, so what adds up are the logits of the classes.
#
# A prompt is a question about the scene, such as "where is the 7?". Digits have none: its size Q is 0.
# If there is a prompt, an encoder sets `self.prompt`. The base then keeps the embedded prompt as the last token.
# `step` reads this token and returns it as it is. In the code below it is called `question`.


# %%
class Evidence(Encoder):
    """Adds up what each glimpse tells, as far as a gate lets it.

    Args:
        inputs: what it is given.
        layout: patches of one look.
        width: numbers D of a token.
    """

    def __init__(self, inputs: Inputs = Inputs(), layout: Layout = layout, *, width: int = 96):
        super().__init__(inputs, layout)
        is_asked = inputs.prompt_size > 0
        self.state_shape = (1 + is_asked, width)
        self.prompt = nn.Linear(inputs.prompt_size, width) if is_asked else None
        numbers = inputs.channels * layout.pixels + 3 * layout.patches + is_asked * width
        self.read = nn.Sequential(nn.Linear(numbers, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 * width))

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        total, question = state[:, :1], state[:, 1:]  # [B, 1, D]; [B, 1, D], or [B, 0, D] without a prompt
        pixels = (glimpse.patches - self.inputs.pixel_mean) / self.inputs.pixel_deviation
        seen = torch.cat([pixels.flatten(1), glimpse.where.flatten(1), question.flatten(1)], dim=1)
        evidence, gate = self.read(seen)[:, None].chunk(2, dim=-1)  # [B, 1, D] each
        return torch.cat([total + gate.sigmoid() * evidence, question], dim=1)


# %% [markdown]
# ## Check the contract
#
# Environments put rows of different episodes into one batch, and exchange them when an episode ends.
# So a row must not see another one, and a state must keep its shape. The prompt's token must stay as it is.


# %%
@torch.no_grad()
def check(encoder: Encoder, batch: int = 4) -> None:
    """Check shapes, rows, positions and the prompt of an encoder; AssertionError if one of them is wrong."""
    layout, inputs = encoder.layout, encoder.inputs
    patches = torch.rand(batch, layout.patches, inputs.channels, layout.patch, layout.patch)
    where = torch.rand(batch, layout.patches, 3) * 2 - 1
    start = encoder.initial(batch, torch.rand(batch, inputs.prompt_size))
    after = encoder.step(start, Glimpse(patches, where))
    assert start.shape == after.shape == (batch, *encoder.state_shape), "a state is [B, N, D]"

    others = patches.clone()
    others[1:] = 0
    changed = encoder.step(start, Glimpse(others, where))
    assert torch.allclose(changed[0], after[0], atol=1e-5), "rows of a batch are independent"
    assert not torch.allclose(changed[1], after[1], atol=1e-5), "pixels matter"
    moved = encoder.step(start, Glimpse(patches, where + 0.5))
    assert not torch.allclose(moved, after, atol=1e-5), "positions matter"
    if encoder.prompt is not None:
        assert torch.equal(after[:, -1], start[:, -1]), "the prompt's token is constant"


torch.manual_seed(SEED)
check(Evidence())
check(Evidence(Inputs(channels=3, prompt_size=5), Layout(patch=6, zooms=1, grid=3), width=32))

# %% [markdown]
# ## Pretrain it
#
# `Perception.build` joins the encoder and the head of a task. It measures the pixels of the source for `Inputs`.
# The encoder's name is `"module:Class"`. Here it is `"__main__:Evidence"`, because this script is the main module.
# Put a class that you want to keep into a module of its own. A file saved from here can be loaded only from here.
#
# `Pretraining` is stage 1. The encoder looks at random places, and near the target in seven of ten glimpses.
# Encoder and head learn from the mean loss over all looks.

# %%
perception = foveal_env.Perception.build(source, encoder="__main__:Evidence", task="classify", seed=SEED)
training = Pretraining(perception, source, steps=520, glimpses=3, learning_rate=6e-3, seed=SEED)
for number in range(1, training.steps + 1):
    logs = training.update()
    if number % 100 == 0:
        accuracy = " ".join(f"{100 * value:3.0f}" for value in logs["accuracy"].tolist())
        print(f"update {number}: loss {logs['loss'].mean():.2f}, accuracy by look in %: {accuracy}")

# %% [markdown]
# The file keeps the weights, and what is needed to make the perception again.
# The entries `source` and `source_options` tell which scenes an environment shows by default.
#
# `foveal pretrain --encoder my_module:Evidence` does all of this from the command line.

# %%
path = FOLDER / "perception.safetensors"
perception.save(path, source="digits", source_options=DIGITS)

# %% [markdown]
# ## Look through it
#
# The path of the file takes the place of the name of a shipped perception.

# %%
env = gym.make("foveal_env/Classify-v0", perception=str(path), split="test", glimpses=4)
observation, info = env.reset(seed=SEED)
terminated = False
while not terminated:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
print("observation", observation.shape, "prediction", info["prediction"], "is it right?", info["is_success"])

# %% [markdown]
# `evaluate` lets an agent look at the first scenes of the split. These are the same for every agent.
# The random agent is a baseline. The oracle knows where the digit is, and so it is an upper bound.

# %%
world = env.get_wrapper_attr("world")
agents = [make_agent(name, world, seed=SEED) for name in ("centre", "random", "oracle")]
rows = [row(agent, evaluate(world, agent, scenes=720)) for agent in agents]
contents = results(
    world,
    rows,
    command="python tutorials/your_encoder.py",
    seed=SEED,
    scenes=720,
    made={"perception": str(path)},
)
print("accuracy by glimpse in %; 0 is the first look, at the centre")
print(table(contents))
plot_accuracy(FOLDER / "accuracy.png", contents)

# %% [markdown]
# The run has learned something if it passes the checks below. Chance is 10 %.

# %%
last = {entry["agent"]: entry["accuracy"][-1] for entry in rows}
assert last["oracle"] > 0.6, f"the encoder has hardly learned to read digits: {last}"
assert last["oracle"] > last["random"] + 0.05, f"where it looks does not matter: {last}"
assert last["random"] > last["centre"], f"more glimpses do not help: {last}"

# %% [markdown]
# ## What next
#
# - `foveal_encoders.multizoom` is the encoder of the shipped perceptions: a transformer over state and patches.
# - An agent sees the whole state by default. `Encoder.observe` and `observation_shape` can show it less.
# - [Your task](your_task.md) makes scenes of your own, and [your algorithm](your_algorithm.md) learns where to look.
