"""Makes docs/envs/ID.gif, an episode of each environment: ``python docs/make_gifs.py``."""

from pathlib import Path

from foveal_agents.base import make_agent
from foveal_agents.plots import episode_gif, spoken
from foveal_env import IDS
from foveal_env.make import make_world

FOLDER = Path(__file__).parent / "envs"
EPISODES = {  # agent, and a test scene in which the answer changes on the way
    "Classify-v0": ("spiral", 22),
    "Search-v0": ("most_likely", 9),
    "Find-v0": ("most_likely", 4),
    "Crowd-v0": ("most_likely", 15),
    "Locate-v0": ("saliency", 1),
    "Reconstruct-v0": ("spiral", 15),
    "Questions-v0": ("saliency", 15),
}


def main() -> None:
    """Make them all."""
    for name, options in IDS.items():
        short = name.partition("/")[2]
        agent, scene = EPISODES[short]
        world = make_world(split="test", **options)
        title = f"{short}: {spoken(agent)}, test scene {scene}"
        episode_gif(FOLDER / f"{short}.gif", world, make_agent(agent, world), scene, title=title)


if __name__ == "__main__":
    main()
