"""The commands of the project from a checkout: `python train.py` alone runs the main job, `--help` lists the others.

They live in `foveal_agents.commands`; installed, the same ones are called `foveal`.
"""

from functools import partial

from foveal_agents import commands

main = partial(commands.main, program="python train.py")

if __name__ == "__main__":
    main()
