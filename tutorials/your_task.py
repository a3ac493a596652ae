"""Your task and data: scenes, a question and a reward of your own.

About 12 seconds on one core.
"""

# %% [markdown]
# # Your task and data
#
# A source makes scenes. A task asks something of them, and scores the answers.
#
# You will write both: four clocks hang on a wall, and the question is "what time is it in Tokyo?".
# Then you will pretrain a perception, train a policy that looks at the clock in question, and draw its scan paths.

# %%
import math
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foveal_agents.base import make_agent
from foveal_agents.plots import save_figure, scan_paths
from foveal_agents.results import row, table
from foveal_agents.rollout import evaluate
from foveal_env import FovealEnv, Outcome, Perception, Rules, Scenes, World
from foveal_env.gaze_law import GazeLaw
from foveal_env.images import Images
from foveal_env.kernels.hashing import scramble
from foveal_env.pretraining import Pretraining
from foveal_env.sources.base import SPLITS, Source
from foveal_env.tasks.base import Task, two_layers

FOLDER = Path("runs/your_task")
CITIES = ("London", "Cairo", "Delhi", "Tokyo")  # top left, top right, bottom left, bottom right
CELL, RADIUS = 32, 8  # px: side of a quarter of the image, radius of a clock
SEED = 0

# %% [markdown]
# If your images are files, you need no source of your own: `folder` reads `FOLDER/CLASS/image.jpg`.
# `foveal pretrain --source folder --folder.folder FOLDER` pretrains on them.
#
# ## A source
#
# A source returns `Scenes` for any index. A scene depends on its split and its index, and on nothing else.
# So test scene 7 is the same for everyone. `scramble(index, salt)` returns random numbers that its arguments decide.
#
# | field of `Scenes` | shape | range |
# |---|---|---|
# | `images` | B images [C, H, W] uint8, from `Images.prepare` | 0 to 255; any sizes, C is 1 or 3 |
# | `label` | [B] int64 | 0 to the number of classes - 1 |
# | `box` | [B, 4] float32 (x, y of the centre, width, height) | gaze coordinates; NaN if unknown |
# | `prompt` | [B, Q] float32, the question | any finite numbers; Q is 0 if there is but one question |
# | `index` | [B] int64 | the index that was asked for |
#
# In gaze coordinates (-1, -1) is the top-left corner of the image and (1, 1) the bottom-right corner.
# So the image has a width and a height of 2, whatever its size in px.


# %%
def paint(corner: Tensor, hour: Tensor) -> Tensor:
    """Return walls with four clocks.

    Args:
        corner: [B, 4, 2] int64, top-left corner (x, y) of each clock in its own quarter, in px.
        hour: [B, 4] int64, hour that each clock shows, 0 to 11.

    Returns:
        [B, 1, 2 * CELL, 2 * CELL] uint8.
    """
    pixel = torch.arange(CELL) + 0.5
    centre = corner[..., None, None] + RADIUS  # [B, 4, 2, 1, 1]
    right, down = pixel - centre[:, :, 0], pixel[:, None] - centre[:, :, 1]  # [B, 4, CELL, CELL]
    angle = hour[..., None, None] * (2 * math.pi / 12)  # clockwise from the top
    along = right * angle.sin() - down * angle.cos()
    across = right * angle.cos() + down * angle.sin()
    wall = torch.where(right.square() + down.square() < RADIUS**2, 230, 60)
    wall[(along > -1) & (along < RADIUS - 1) & (across.abs() < 1.5)] = 0  # the hand
    quarters = wall.to(torch.uint8).unflatten(1, (2, 2))  # [B, 2, 2, CELL, CELL]
    return quarters.transpose(2, 3).reshape(-1, 1, 2 * CELL, 2 * CELL)


class Clocks(Source):
    """Four clocks on a wall, one in each quarter; the prompt says which one is to be read."""

    channels = 1
    classes = tuple(f"{hour or 12} o'clock" for hour in range(12))
    count = 12**4  # what four clocks can show; their places vary, too
    knows_target = True  # `box` is known
    prompt_size, prompt_names = len(CITIES), CITIES
    canvas = 2 * CELL

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices, [B] int64 >= 0."""
        draws = scramble(index[:, None], SPLITS.index(self.split), torch.arange(13))  # [B, 13] >= 0
        hour, asked = draws[:, :4] % 12, draws[:, 12] % 4
        corner = draws[:, 4:12].unflatten(1, (4, 2)) % (CELL - 2 * RADIUS + 1)
        number = torch.arange(len(index))
        quarter = torch.stack([asked % 2, asked // 2], dim=1)  # (column, row)
        centre = (quarter * CELL + corner[number, asked] + RADIUS) / CELL - 1
        return Scenes(
            images=Images.prepare(paint(corner, hour)),
            label=hour[number, asked],
            box=torch.cat([centre, torch.full_like(centre, 2 * RADIUS / CELL)], dim=1),
            prompt=nn.functional.one_hot(asked, len(CITIES)).float(),
            index=index,
        )

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return the question of a scene in words, for drawings."""
        return CITIES[int(scenes.prompt[row].argmax())]


train, test = Clocks("train"), Clocks("test")
scenes = test.scenes(torch.tensor([7, 8]))
assert torch.equal(scenes.images.pixels(0), test.scenes(torch.tensor([7])).images.pixels(0))  # in any batch
assert not torch.equal(scenes.images.pixels(0), train.scenes(torch.tensor([7])).images.pixels(0))  # of its split
print("image", list(scenes.images.pixels(0).shape), "box", scenes.box[0].tolist(), "prompt", scenes.prompt[0].tolist())

# %% [markdown]
# ## A task
#
# A task is a head and a score. `forward` reads an answer off the state. `score` says what each answer is worth:
#
# | field of `Outcome` | shape | meaning |
# |---|---|---|
# | `loss` | [B] float >= 0 | what stage 1 minimises; 0 for a perfect answer |
# | `score` | [B] float in [0, 1] | how good the answer is |
# | `correct` | [B] bool | whether it counts as right |
# | `prediction` | [B, ...] | the answer itself |
#
# `config_for` returns what the head needs to know of a source. It comes back as arguments of the constructor.
#
# Eleven and one are two hours apart, and not ten. A classifier does not know that; this task's score does.
# `rewards` names rewards of its own. A reward is a function of the outcomes before and after a glimpse.


# %%
def nearer(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward how much nearer the hand has come to the truth, [B] in [-1, 1]; `last` [B] bool is not needed."""
    return after.score - before.score


class ReadClock(Task):
    """What time is it? Two layers read the whole state; the score falls with the distance on the dial."""

    rewards: ClassVar = {"nearer": nearer}

    def __init__(self, state_shape: tuple[int, int], *, hours: list[str]):
        super().__init__()
        self.hours = hours
        self.read = two_layers(state_shape, hidden=64, size=len(hours))

    def forward(self, state: Tensor) -> Tensor:
        """Return the logits [B, hours]."""
        return self.read(state)

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score logits [B, hours]: 1 for the right hour, 0 for the opposite one."""
        loss = nn.functional.cross_entropy(answer.float(), scenes.label, reduction="none")
        prediction = answer.argmax(dim=1)
        apart = (prediction - scenes.label).abs()
        apart = torch.minimum(apart, len(self.hours) - apart)
        return Outcome(loss, 1 - apart / (len(self.hours) / 2), apart == 0, prediction)

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the names of the hours."""
        return {"hours": list(source.classes)}

    def answer_text(self, prediction: Tensor, prompt: Tensor) -> str:
        """Return an answer in words, for drawings."""
        return self.hours[int(prediction)]


# %% [markdown]
# ## Pretrain
#
# The encoder is a shipped one, `gru`, with two patches a look. They cover 45 px and 23 px of the 64 px.
# The first look at the centre hardly sees a clock.
#
# `GazeLaw` says where stage 1 looks. By default seven of ten gazes are near the box, the others anywhere.
# The hand is thin, so they should be nearer than usual: a quarter of the box's side.

# %%
perception = Perception.build(
    train, encoder="gru", task="__main__:ReadClock", seed=SEED, patch=10, zooms=2, zoom_range=(0.5, 1.5), width=64
)
law = GazeLaw(near_deviation=0.25)
training = Pretraining(perception, train, law, steps=280, glimpses=2, learning_rate=3e-3, seed=SEED)
for number in range(1, training.steps + 1):
    logs = training.update()
    if number % 40 == 0:
        accuracy = " ".join(f"{100 * value:3.0f}" for value in logs["accuracy"].tolist())
        print(f"update {number}: loss {logs['loss'].mean():.2f}, accuracy by look in %: {accuracy}")
perception.frozen().save(FOLDER / "perception.safetensors", source="__main__:Clocks")

# %% [markdown]
# ## Train a policy
#
# A world is a source, a perception and the rules of an episode. The reward is the one above.
# `Agent.train` learns until the budget of glimpses is spent, and yields logs.

# %%
world = World(train, perception, Rules(glimpses=2, reward="nearer"))
agent = make_agent("grpo", world, seed=SEED, num_scenes=64, gamma=0.7)
for logs in agent.train(glimpses=26_000):
    if round(logs["glimpses"]) % 4096 == 0:
        print(f"{logs['glimpses']:6.0f} glimpses: {100 * logs['accuracy']:.0f} % right, reward {logs['reward']:.2f}")
agent.save(FOLDER / "policy.safetensors")

# %% [markdown]
# ## Evaluate and draw
#
# The test scenes differ from the training scenes, because the split is one of the salts.
# All agents look at the same scenes, twice each. The oracle knows where the clock in question is.

# %%
shown = World(test, perception, Rules(glimpses=2))
rules = [make_agent(name, shown, seed=SEED) for name in ("random", "raster", "oracle")]
agents = [*rules, agent]
evaluations = [evaluate(shown, agent, scenes=500) for agent in agents]
rows = [row(agent, evaluation) for agent, evaluation in zip(agents, evaluations, strict=True)]
print("accuracy by glimpse in %; 0 is the first look, at the centre")
print(table({"rows": rows, "glimpses": 2}))
save_figure(FOLDER / "scan_paths.png", scan_paths(shown, evaluations[-1], range(8), agent=agent))

# %% [markdown]
# The figure shows what the agent was asked, where it looked, and the windows of its last glimpse.
#
# The same world is a Gymnasium environment, for any other library.

# %%
env = FovealEnv(world=world)
observation, info = env.reset(seed=SEED)
observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
print("observation", observation.shape, "reward", round(reward, 3), "score", round(info["score"], 3))

# %% [markdown]
# The run has learned something if it passes the checks below. Chance is one hour of twelve.

# %%
last = {entry["agent"]: entry["accuracy"][-1] for entry in rows}
assert last["oracle"] > 0.6, f"the perception has hardly learned to read clocks: {last}"
assert last["grpo"] > max(last["random"], last["raster"]) + 0.2, f"the policy has not learned where to look: {last}"

# %% [markdown]
# ## What next
#
# - If several things can be the answer, `Source.candidate_boxes` lets stage 1 look at all of them.
# - `Pretraining(auxiliary_task="point")` keeps in the state where the target is, if a policy has to search for it.
# - `FOLDER` now holds both checkpoints. They name `__main__`, so only this script can load them.
#   Classes in a module of their own have names that hold everywhere: `foveal policy --perception FILE`.
