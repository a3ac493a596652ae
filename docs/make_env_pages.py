"""Write docs/environments/: a page for each id, from docstrings, the registry, one episode and measured scores.

``python -m docs.make_env_pages`` writes them anew; `tests/test_docs.py` holds the pages equal to what it makes.
"""

import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import gymnasium as gym
import torch

from benchmarks.markdown import table
from docs.env_scores import scores
from foveal_env import IDS, QUESTIONS, make_world
from foveal_env.env import FovealEnv, FovealVectorEnv
from foveal_env.options import meaning
from foveal_env.registry import Option, options_of
from foveal_env.world import Rules, World

DOCS = Path(__file__).parent
OWN = ("source", "canvas", "source_options", "task", "task_options")  # None is the perception's own
UNFIT = ("split", "root", "download")  # options of a source that say nothing of its scenes
VARIANTS = {
    "foveal_env/Classify-v0": 'canvas=250, glimpses=8, reward="probability"',
    "foveal_env/Search-v0": 'canvas=400, task_options={"tolerance": 0.25}, time_left=True',
    "foveal_env/Find-v0": 'canvas=1000, task_options={"declare": 0.7}',
    "foveal_env/Crowd-v0": 'source_options={"candidates": 16}, glimpses=8',
    "foveal_env/Locate-v0": "canvas=100, stop=True, glimpse_cost=0.01",
    "foveal_env/Reconstruct-v0": "glimpses=4, first_look=None",
    "foveal_env/Questions-v0": 'task="count"',
}


def pages() -> dict[str, str]:
    """Return the text of each file of docs/environments/ by its name."""
    return {"index.md": index_page(), **{f"{short(name)}.md": page(name) for name in IDS}}


def short(name: str) -> str:
    """Return an id without its namespace."""
    return name.rpartition("/")[2]


def index_page() -> str:
    """Return the page that lists the ids."""
    rows = []
    for name in IDS:
        world = make_world(**IDS[name])
        early = f", less {ends_early(world)}" if world.ends_on_success else ""
        link, shown = f"[{short(name)}]({short(name)}.md)", image(name, width=150)
        rows.append((link, QUESTIONS[name], f"{world.rules.glimpses}{early}", shown))
    return f"""# Environments

Every id works at once and offline: its perception ships with the package, and its digits come with scikit-learn.
The pages have the spaces, the rewards, the info, the arguments and the scores of each.

{table(("id", "question", "glimpses", "an episode"), rows)}

All ids are one class, [FovealEnv](../reference/foveal_env.env.md), with other defaults.
[Environments](../guide/environments.md) in the guide explains what they share.
"""


def ends_early(world: World) -> str:
    """Return when an episode ends before its last glimpse, in words."""
    declare = getattr(world.perception.task, "declare", 0.0)
    return f"once the head is {100 * declare:g} % sure of its point, right or wrong" if declare else "after success"


def page(name: str) -> str:
    """Return the page of one id."""
    world = make_world(**IDS[name])
    parts = sections(FovealEnv)
    return f"""# {short(name)}

**{QUESTIONS[name][0].upper()}{QUESTIONS[name][1:]}**

{image(name, width=480)}

{facts(name, world)}

## Example

{example(name)}

## Description

{parts["Description"]}

### The scenes

{prose(type(world.source))}

### The task

{prose(type(world.perception.task))}

## Observation

{parts["Observation"]}

Here n = {world.observation_shape[0]} and d = {world.observation_shape[1]}.

## Action

{parts["Action"]}

Here A = {world.rules.action_size}: the gaze alone.

## Reward

{parts["Reward"]}

## Start and end

{parts["Start and end"]}

{f"An episode ends early {ends_early(world)}." if world.ends_on_success else "This task does not end on success."}

## Info

{info_table(name, parts["Info"])}

## Arguments

{arguments(name, world)}

## Scores

{scores(name)}

## Versions

{parts["Versions"]}
"""


def sections(kind: type) -> dict[str, str]:
    """Return the text below each heading of a class docstring, its arguments left out."""
    text = (inspect.getdoc(kind) or "").partition("\n\nArgs:")[0]
    pieces = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {head: body.strip() for head, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def prose(kind: type) -> str:
    """Return what the docstring of a class says before its arguments, and then what its module adds."""
    own = re.split(r"\n\n(?:Args|Attributes|Raises)\b", inspect.getdoc(kind) or "")[0]
    module = (inspect.getdoc(inspect.getmodule(kind)) or "").partition("\n\n")[2]
    return "\n\n".join(part for part in (own, module) if part)


def image(name: str, *, width: int) -> str:
    """Return an image of an episode in px; nothing if there is none in docs/envs/."""
    gif = f"envs/{short(name)}.gif"
    if not (DOCS / gif).is_file():
        return ""
    shown = f"An episode of {short(name)}: the image, the windows of the last glimpse, and the path of the gaze"
    return f'![{shown}](../{gif}){{ width="{width}" }}'


def facts(name: str, world: World) -> str:
    """Return the table of what is special to one id."""
    layout, images = world.layout, world.scenes(torch.arange(1)).images
    height, width = images.size[0].tolist()
    sides = [f"{round(min(height, width) / 2**z, 1):g}" for z in layout.offsets()[:, 2].tolist()]
    spec = world.perception.spec
    end = "; success ends the episode" if world.ends_on_success else ""
    return table(
        ("Make", f'`gym.make("{name}")`'),
        [
            ("Observation", f"`Box`, shape {world.observation_shape}, float32"),
            ("Action", f"`Box(-1, 1)`, shape ({world.rules.action_size},), float32"),
            ("Glimpses", f"{world.rules.glimpses} after the first look{end}"),
            ("Image", f"{width} x {height} px, {images.channels} channel{'s' if images.channels > 1 else ''}"),
            ("Windows of a glimpse", f"{', '.join(sides)} px, each as {layout.patch} x {layout.patch} px"),
            ("Sensor pixels", f"{layout.pixels} a glimpse, {layout.pixels / (height * width):.1%} of the image"),
            ("Perception", f"`{IDS[name].get('perception', 'digits')}`: encoder `{spec['encoder']}`, frozen"),
            ("Task", f"`{spec['task']}`, {reference(world.perception.task)}"),
            ("Source", f"`{spec['source']}`, {reference(world.source)}"),
        ],
    )


def reference(thing: object) -> str:
    """Return a link to an object's class in the reference."""
    module, name = type(thing).__module__, type(thing).__name__
    return f"[{module}.{name}](../reference/{module}.md#{module}.{name})"


def info_table(name: str, text: str) -> str:
    """Return the rows of the docstring's table whose keys an episode of this id really has, with their types."""
    seen = episode_info(name)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    documented = {cells[0].strip("`"): cells[1:] for cells in rows}
    missing = seen.keys() - documented.keys()
    if missing:
        raise ValueError(f"the docstring of FovealEnv has no row for info {', '.join(sorted(missing))}")
    return table(
        ("key", "type", "when", "meaning"),
        [(f"`{key}`", seen[key], *cells) for key, cells in documented.items() if key in seen],
    )


def episode_info(name: str) -> dict[str, str]:
    """Return the type of each entry of the info in some episodes."""
    env, seen = gym.make(name), {}
    for seed in range(8):  # enough for each of several questions to be asked
        env.reset(seed=seed)
        ended = False
        while not ended:
            *_, ended, _, info = env.step(env.action_space.sample() * 0)
        shapes = {key: getattr(value, "shape", None) for key, value in info.items()}
        seen |= {key: type(info[key]).__name__ if shape is None else f"array {shape}" for key, shape in shapes.items()}
    return seen


def arguments(name: str, world: World) -> str:
    """Return the tables of what `gym.make` takes, with the defaults of this id."""
    batch = {key: value for key, value in options_of(FovealVectorEnv).items() if key in ("num_envs", "autoreset_mode")}
    spec = world.perception.spec
    source = {k: v for k, v in options_of(type(world.source)).items() if k not in UNFIT and k not in IDS[name]}
    task = {
        key: option
        for key, option in options_of(type(world.perception.task)).items()
        if key not in ("state_shape", *spec["task_config"])
    }
    view = {key: options_of(FovealEnv)[key] for key in ("render_mode", "flat")}
    text = [
        option_table({**options_of(make_world), **options_of(Rules), **view}, IDS[name], OWN),
        "`gym.make_vec` takes these besides:",
        option_table(batch, {"autoreset_mode": "SameStep"}),
        f"`source_options` of the source `{spec['source']}`, with the defaults that the perception was trained with:",
        option_table(source, spec.get("source_options", {})),
    ]
    if task:
        text += [f"`task_options` of the task `{spec['task']}`:", option_table(task, {})]
    return "\n\n".join(text)


def option_table(options: Mapping[str, Option], own: Mapping[str, Any], left_open: Iterable[str] = ()) -> str:
    """Return a table of options, with an id's own defaults; None in one that is `left_open` leaves it to others."""
    rows = []
    for name, option in options.items():
        default = own.get(name, option.default)
        shown = "the perception's" if default is None and name in left_open else f"`{default!r}`"
        rows.append((f"`{name}`", typed(option.annotation), shown, described(option, name)))
    return table(("name", "type", "default", "meaning"), rows)


def typed(annotation: Any) -> str:
    """Return a type in words."""
    if get_origin(annotation) is Union:  # as Python 3.10 has it
        return " or ".join(typed(kind) for kind in get_args(annotation))
    text = annotation.__name__ if isinstance(annotation, type) and "[" not in str(annotation) else str(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text).replace(" | ", " or ").replace("NoneType", "None")


def described(option: Option, name: str) -> str:
    """Return what the docstring of its owner says of an option."""
    text = " ".join(meaning(option.owner, name).split())
    if not text:
        raise ValueError(f"no docstring tells of the option {name!r} of {option.owner}")
    return text


def example(name: str) -> str:
    """Return a program that plays an episode, and one that makes a variant."""
    variant = "".join(f"\n            {option}," for option in VARIANTS[name].split(", "))
    return textwrap.dedent(
        f"""\
        ```python
        import gymnasium as gym

        import foveal_env  # registers the ids

        env = gym.make("{name}", render_mode="rgb_array")
        observation, info = env.reset(seed=0)
        terminated = False
        while not terminated:
            gaze = env.action_space.sample()  # your policy here
            observation, reward, terminated, truncated, info = env.step(gaze)
        print(info["prediction"], info["score"], info["is_success"])
        picture = env.render()  # [h, w, 3] uint8

        batch = gym.make_vec("{name}", num_envs=16)
        variant = gym.make(
            "{name}",{variant}
        )
        ```"""
    )


if __name__ == "__main__":
    folder = DOCS / "environments"
    folder.mkdir(exist_ok=True)
    for file, text in pages().items():
        (folder / file).write_text(text)
