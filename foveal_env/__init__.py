"""Gymnasium environments in which an agent chooses where a frozen vision encoder looks next.

Shapes: B batch, K patches, C channels, P patch side, N state tokens, D width, T glimpses, G group.

Importing this package registers the ids and nothing else: torch and the data sets load when they are used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from gymnasium.envs.registration import register

IDS = {
    "foveal_env/Classify-v0": {},
    "foveal_env/Search-v0": {"perception": "search", "canvas": 250, "glimpses": 12},
    "foveal_env/Find-v0": {
        **{"perception": "spatial_search", "canvas": 500, "glimpses": 12},
        "task_options": {"declare": 0.9},
    },
    "foveal_env/Crowd-v0": {
        **{"perception": "crowd", "canvas": 400, "glimpses": 12},
        **{"source_options": {"candidates": 36}, "task_options": {"declare": 0.9}},
    },
    "foveal_env/Locate-v0": {"perception": "locate", "canvas": 250, "glimpses": 8},
    "foveal_env/Reconstruct-v0": {"perception": "reconstruct", "glimpses": 8},
    "foveal_env/Questions-v0": {"perception": "questions", "glimpses": 6},
}

QUESTIONS = {
    "foveal_env/Classify-v0": "which digit is it?",
    "foveal_env/Search-v0": "where is the digit that the prompt names?",
    "foveal_env/Find-v0": "where, on 500 px, is the digit named? a false alarm fails",
    "foveal_env/Crowd-v0": "where, among 36 digits, is the one named? a false alarm fails",
    "foveal_env/Locate-v0": "where is the digit, and how large is it?",
    "foveal_env/Reconstruct-v0": "what does the whole image look like?",
    "foveal_env/Questions-v0": "which digit is the large one? where is the 7? how many 3s are there?",
}

for _id, _options in IDS.items():
    register(
        _id,
        entry_point="foveal_env.env:FovealEnv",
        vector_entry_point="foveal_env.env:FovealVectorEnv",
        kwargs={"defaults": _options},
    )

__version__ = version("foveal-env")

_PUBLIC = {
    "FovealEnv": "foveal_env.env",
    "FovealVectorEnv": "foveal_env.env",
    "Episode": "foveal_env.data",
    "Scenes": "foveal_env.data",
    "Outcome": "foveal_env.data",
    "Rules": "foveal_env.world",
    "World": "foveal_env.world",
    "make_world": "foveal_env.make",
    "make_source": "foveal_env.make",
    "rllib_env": "foveal_env.rllib",
    "Perception": "foveal_env.perception",
    "extract": "foveal_env.retina",
    "draw": "foveal_env.render",
}

__all__ = ["IDS", "QUESTIONS", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'foveal_env' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
