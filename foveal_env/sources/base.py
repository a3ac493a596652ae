"""The contract of a source: a scene is a pure function of its split and its index.

So nothing needs to be stored or sampled in order: test scene 7 is the same for everyone, on any device, in any batch,
and an environment's stream of scenes does not depend on how many environments run beside it.
"""

import torch
from torch import Tensor

from foveal_env.data import Scenes

SPLITS = ("train", "validation", "test")


class Source:
    """Base of all sources. A subclass sets the attributes below and implements `scenes`.

    Attributes:
        split: "train", "validation" or "test"; no underlying image is in two of them.
        channels: channels of the images, 1 or 3.
        classes: names of the classes; a label indexes them.
        prompt_size: length Q of the prompt vectors, 0 for none.
        prompt_names: in words, what the entries of a prompt stand for; a perception is asked what it has learned to be asked.
        count: number of different underlying images.
        knows_target: whether `Scenes.box` is known.
        waits: whether scenes are read from files, so that it pays to let a worker make the next ones. Where they are
            computed it does not: on two cores it cost 64 environments a third of their speed and 256 a tenth.
    """

    split: str
    channels: int
    classes: tuple[str, ...]
    prompt_size: int = 0
    prompt_names: tuple[str, ...] = ()
    count: int
    knows_target: bool = False
    reads_files: bool = False

    def __init__(self, split: str):
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        self.split = split

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices, [B] int64 >= 0; any index is a scene."""
        raise NotImplementedError

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return a box [B, 4] for each scene that stage 1 looks near: the target's, or what may be mistaken for it.

        `progress` is the share of the training that is done.
        """
        return scenes.box

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return what is asked of one of the scenes, in words; "" if all are asked the same."""
        return ""

    def truth_text(self, scenes: Scenes, row: int) -> str:
        """Return the right answer of one of the scenes, in words; by default the name of its class."""
        return self.classes[int(scenes.label[row])]
