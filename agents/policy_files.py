"""The files that policies are kept in: read with care, because anybody may have made them."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foveal_agents.base import Agent, AgentWorld, Spent, make_agent
from foveal_env import checkpoint
from foveal_env.registry import difference
from foveal_env.trust import check_entries, check_numbers, made_from
from foveal_env.world import Rules

ENTRIES = {"agent": str, "options": dict, "seed": int, "spent": dict, "perception": str, "rules": dict}  # of a header
LATER_ENTRIES = {  # that older files lack
    **{"trained_on": dict, "observation_shape": list},
    **{"acts_only": bool, "reads_map": bool},
}
LARGEST = {"num_envs": 2**16, "grid": 256}  # options of an agent that a file may ask for
LARGEST_OPTION, LARGEST_RULE = 2**24, 10_000
LARGEST_OBSERVATIONS = 2**26  # numbers in those of all environments at once


@dataclass(frozen=True)
class Policy:
    """The file of a saved policy, as it was read."""

    path: Path
    tensors: dict[str, Tensor]
    header: dict[str, Any]
    is_trusted: bool = False  # whether it may name any code to run

    @property
    def rules(self) -> dict[str, Any]:
        """Rules that the policy was trained with: those fields of `Rules` without which it means something else."""
        return self.header["rules"]

    @property
    def trained_rules(self) -> dict[str, Any]:
        """All rules of the episodes that the policy was trained in; empty if the file does not say so."""
        rules = self.header.get("trained_on", {}).get("rules", {})
        return rules if isinstance(rules, dict) else {}

    @property
    def kind(self) -> str | None:
        """All that was decided before its training but the seed, in a line; None if the file does not say so."""
        if "trained_on" not in self.header:
            return None
        keys = ("agent", "options", "perception", "rules", "trained_on")
        about = {key: self.header[key] for key in keys}
        return json.dumps({**about, "glimpses": self.header["spent"]["glimpses"]}, sort_keys=True)

    def check(self, world: AgentWorld) -> None:
        """Raise ValueError if the policy was trained on another perception than a world's, or with other rules."""
        here = {"perception": world.perception.fingerprint, **world.rules.of_policies}
        there = {"perception": self.header["perception"], **self.rules}
        other = [name for name in here if there.get(name) != here[name]]
        if other:
            trained, given = (", ".join(f"{name}={of.get(name)}" for name in other) for of in (there, here))
            raise ValueError(f"{self.path} was trained on {trained}; this world has {given}")

    def _check_size(self, shape: tuple[int, int]) -> None:
        """Raise ValueError if the observations of all its environments at once would take too much memory."""
        rows = self.header["options"].get("num_envs", 1)
        if isinstance(rows, int) and rows * math.prod(shape) > LARGEST_OBSERVATIONS:
            raise ValueError(
                f"{self.path} asks for {rows} environments with observations of shape {tuple(shape)} at once: say "
                "trust=True (--trust) to let it take that memory"
            )

    def agent(self, world: AgentWorld) -> Agent:
        """Make the agent that saved the policy, with what it had learned.

        Raises ValueError if the policy does not belong in the world (`check`), its weights do not fit, or it
        names code that is neither registered nor imported.
        """
        self.check(world)
        if not self.is_trusted:
            self._check_size(world.observation_shape)
        with made_from(self.path, self.tensors, trust=self.is_trusted):
            agent = make_agent(self.header["agent"], world, seed=self.header["seed"], **self.header["options"])
            agent.spent, agent.acts_only = Spent(**self.header["spent"]), self.header.get("acts_only", False)
            agent.trained_on = self.header.get("trained_on")
        with made_from(self.path, trust=self.is_trusted):
            try:
                agent.restore(self.tensors, self.header)
            except RuntimeError as error:
                raise ValueError(f"the weights in {self.path} do not fit: {' '.join(str(error).split())}") from error
        return agent


def read_policy(name: str | os.PathLike, *, trust: bool = False) -> Policy:
    """Read a policy: a shipped one by name, any other by the path of its file.

    Args:
        name: name of a shipped policy, or the path of a file.
        trust: whether the file may run code. Otherwise its agent must be registered, or be a class of a module that is
            imported already; and it writes no files, and takes no more memory than its weights account for.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no shipped policy has this name, or the file is damaged, holds something else, or is to be trusted.
    """
    path = checkpoint.find(name, package="foveal_agents.pretrained", kind="policy")
    tensors, header = checkpoint.load(path, "policy")
    check_entries(path, header, ENTRIES)
    check_entries(path, header, {name: kind for name, kind in LATER_ENTRIES.items() if name in header})
    _check_rules(path, header["rules"])
    tensors = {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}
    policy = Policy(path, tensors, header, trust)
    if not trust:
        check_numbers(path, header["options"], LARGEST, default=LARGEST_OPTION)
        check_numbers(path, policy.trained_rules, {}, default=LARGEST_RULE)
        folder = header["options"].get("tensorboard_log")
        if folder is not None:
            raise ValueError(f"{path} asks to write into {folder}: say trust=True (--trust) to let it")
    return policy


def _check_rules(path: Path, rules: dict[str, Any]) -> None:
    """Raise ValueError, which names the file, unless rules are those that a policy keeps."""
    unknown = sorted(rules.keys() - Rules(zoom=True).of_policies.keys())
    if unknown:
        raise ValueError(f"{path} is damaged: its rules have {', '.join(map(repr, unknown))}")
    check_entries(path, rules, {name: type(value) for name, value in vars(Rules()).items() if name in rules})
    with made_from(path):
        Rules(**rules)


def load_agent(name: str | os.PathLike, world: AgentWorld, *, trust: bool = False) -> Agent:
    """Make the agent that saved a policy: see `read_policy` and `Policy.agent`, whose errors it raises."""
    return read_policy(name, trust=trust).agent(world)


def resume_agent(agent: Agent, path: str | os.PathLike, glimpses: int) -> Agent:
    """Return the agent that was saved at `path`, to go on training until `glimpses` glimpses were taken in all.

    Returns `agent` itself, which begins again, if glimpses are left to take and the saved one cannot go on
    (`Agent.can_resume`). Raises ValueError unless both were made alike, and what `load_agent` raises.
    """
    saved = load_agent(path, agent.world)
    there, here = ({"agent": of.name, "seed": of.seed, **of.options} for of in (saved, agent))
    other = difference(there, json.loads(json.dumps(here)))
    if other:
        raise ValueError(f"{path} cannot go on: its {other}")
    if saved.acts_only and saved.spent.glimpses < glimpses:
        raise ValueError(f"{path} cannot go on: it was saved for acting alone")
    return saved if saved.can_resume or saved.spent.glimpses >= glimpses else agent
