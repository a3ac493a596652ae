"""What `show` needs: image files as scenes of any perception, what is asked of them, and which policy looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foveal_agents.policy_files import Policy, read_policy
from foveal_env.checkpoint import shipped
from foveal_env.perception import Perception
from foveal_env.sources.pictures import Unlabelled

MAIN = Path("runs/main/policy.safetensors")  # of the main job
WITHOUT_CLASS = "large"  # the question of the source `questions` that names no class


def unlabelled(
    perception: Perception, images: Sequence[str], *, question: Sequence[str] | None, max_pixels: int
) -> Unlabelled:
    """Return image files as scenes that a perception can look at.

    Args:
        perception: perception that looks.
        images: paths.
        question: names of entries of its prompt; None if it is asked nothing.
        max_pixels: largest number of px of an image that is decoded.

    Raises ValueError if the perception has no such question, or needs one.
    """
    inputs, spec = perception.encoder.inputs, perception.spec
    names = tuple(spec.get("prompt_names", ()))
    prompt, words = prompt_of(spec, inputs.prompt_size, question)
    return Unlabelled(
        images,
        channels=inputs.channels,
        classes=spec["task_config"].get("classes", ("unknown",)),
        prompt=prompt,
        prompt_names=names,
        question=f"asked {words}" if words else "",
        max_pixels=max_pixels,
    )


def prompt_of(spec: Mapping[str, Any], size: int, question: Sequence[str] | None) -> tuple[Tensor, str]:
    """Return the prompt [Q] of a question, 1 at each entry that it names and 0 elsewhere; and the question in words.

    Args:
        spec: header of the perception.
        size: length Q of its prompts.
        question: names of entries; several may stand in one, with spaces between them.

    Raises ValueError if the names are not those of one question.
    """
    names = list(spec.get("prompt_names", ()))
    if not size:
        if question:
            raise ValueError(f"this perception is asked nothing ({spec['task']}): leave out --question")
        return torch.zeros(0), ""
    if len(names) != size:
        raise ValueError(
            f"this perception is asked with {' and '.join(names) or f'{size} numbers'}, which --question cannot give: "
            "choose one whose prompts are names"
        )
    words = [part for word in question or () for part in ([word] if word in names else word.split())]
    _check_question(spec, names, words)
    prompt = torch.zeros(size, dtype=torch.float32)
    prompt[[names.index(word) for word in words]] = 1
    return prompt, " ".join(words)


def _check_question(spec: Mapping[str, Any], names: list[str], words: list[str]) -> None:
    """Raise ValueError unless words name one question."""
    kinds = list(spec["task_config"].get("questions", ()))
    others = [name for name in names if name not in kinds]
    choice = f"one of {', '.join(kinds)}, and what it is about: {', '.join(others)}" if kinds else ", ".join(names)
    unknown = [word for word in words if word not in names]
    if unknown or not words:
        fault = f"unknown {unknown[0]!r}" if unknown else "say what is asked"
        raise ValueError(f"--question: {fault}; known: {choice}")
    asked, about = [word for word in words if word in kinds], [word for word in words if word not in kinds]
    is_single = len(asked) == 1 if kinds else spec["task"] != "search" or len(about) == 1
    if not is_single:
        raise ValueError(f"--question {' '.join(words)}: it must be {'one of ' if not kinds else ''}{choice}")
    if spec.get("source") == "questions" and len(about) != (asked[0] != WITHOUT_CLASS):
        needed = "takes no class" if asked[0] == WITHOUT_CLASS else f"needs one class: {', '.join(others)}"
        raise ValueError(f"--question {' '.join(words)}: {asked[0]!r} {needed}")


def read_named(name: str, *, trust: bool = False) -> Policy:
    """Return a policy by path or name; FileNotFoundError says how to come by one."""
    if name.endswith(".safetensors") and not Path(name).is_file():
        raise FileNotFoundError(f"no policy at {name}: run the main job first, or choose --agent spiral")
    return read_policy(name, trust=trust)


def policy_for(perception: Perception) -> Policy:
    """Return the policy of the main job if it is for a perception, or else a shipped one that is.

    Raises FileNotFoundError if there is none.
    """
    for candidate in [*([MAIN] if MAIN.is_file() else []), *shipped("foveal_agents.pretrained").values()]:
        policy = read_policy(candidate)
        if policy.header["perception"] == perception.fingerprint:
            return policy
    raise FileNotFoundError(
        "no shipped policy is for this perception: name one with --policy, or choose --agent spiral"
    )
