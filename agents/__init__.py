"""Agents: choose where to look from the state, by a rule or by learning."""

from encoders.registry import Registry

AGENTS = Registry(
    "agent",
    {
        "random": "agents.scripted:Random",
        "centre": "agents.scripted:Centre",
        "raster": "agents.scripted:Raster",
        "spiral": "agents.scripted:Spiral",
        "saliency": "agents.scripted:Saliency",
        "oracle": "agents.scripted:Oracle",
        "greedy_oracle": "agents.scripted:GreedyOracle",
        "grpo": "agents.grpo:Grpo",
        "ppo": "agents.sb3:Ppo",
        "a2c": "agents.sb3:A2c",
        "sac": "agents.sb3:Sac",
        "sb3": "agents.sb3:StableBaselines",
    },
    base="agents.base:Agent",
)
