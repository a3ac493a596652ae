"""Tasks: what is asked of a scene, as a head on the state and a score of its answers."""

from foveal_env.registry import Registry

TASKS = Registry(
    "task",
    {
        "classify": "foveal_env.tasks.classify:Classify",
        "locate": "foveal_env.tasks.locate:Locate",
        "point": "foveal_env.tasks.point:Point",
        "search": "foveal_env.tasks.search:Search",
        "reconstruct": "foveal_env.tasks.reconstruct:Reconstruct",
        "several": "foveal_env.tasks.several:Several",
    },
    base="foveal_env.tasks.base:Task",
)
