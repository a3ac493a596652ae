"""Agents, imported as `foveal_agents`: choose where to look from the state, by a rule or by learning."""

from importlib import import_module
from typing import Any

from foveal_env.registry import Registry

if __name__ != "foveal_agents":
    raise ImportError(f"import foveal_agents, not {__name__}: the folder's name belongs to anybody's project")

AGENTS = Registry(
    "agent",
    {
        "random": "foveal_agents.scripted:Random",
        "centre": "foveal_agents.scripted:Centre",
        "raster": "foveal_agents.scripted:Raster",
        "spiral": "foveal_agents.scripted:Spiral",
        "saliency": "foveal_agents.scripted:Saliency",
        "entropy_limit": "foveal_agents.entropy:EntropyLimit",
        "most_likely": "foveal_agents.scripted:MostLikely",
        "oracle": "foveal_agents.scripted:Oracle",
        "greedy_oracle": "foveal_agents.scripted:GreedyOracle",
        "grpo": "foveal_agents.grpo:Grpo",
        "ppo": "foveal_agents.sb3.algorithms:Ppo",
        "a2c": "foveal_agents.sb3.algorithms:A2c",
        "sac": "foveal_agents.sb3.algorithms:Sac",
        "td3": "foveal_agents.sb3.algorithms:Td3",
    },
    base="foveal_agents.base:Agent",
)

_PUBLIC = {"load_policy": "foveal_agents.policies"}

__all__ = ["AGENTS", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'foveal_agents' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
