"""The contract of a source: a scene is a pure function of its split and its index.

So nothing needs to be stored or sampled in order: test scene 7 is the same for everyone, on any device, in any batch,
and an environment's stream of scenes does not depend on how many environments run beside it.
"""

from typing import Any

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.kernels.hashing import shuffled
from foveal_env.sources.canvas import PictureSet, SmallPictures

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.1  # of the training part of a data set that comes in two parts


class Source:
    """Base of all sources. A subclass sets the attributes below and implements `scenes`.

    A source of one's own is checked once (`foveal_env.contracts`), and each fault is a ValueError that says what was
    expected.

    Attributes:
        split: "train", "validation" or "test"; no underlying image is in two of them.
        channels: channels of the images, 1 or 3.
        classes: names of the classes; a label indexes them.
        count: number of different underlying images.
        distinct_scenes: number of scenes that show different images, if scenes are whole images: an evaluation counts
            no more of them. None if scenes of one image differ, in places or clutter.
        knows_target: whether `Scenes.box` is known.
        truth_known: whether anything is known by which an answer can be scored; if not, every perception that takes
            the images and prompts fits, and the scores of its answers mean nothing.
        prompt_size: length Q of the prompt vectors, 0 for none.
        prompt_names: meaning of each entry of a prompt, in words. A perception fits sources with the same names only.
        canvas: side of the square canvas in px; None if there is none, or several.
        canvases: sides of all square canvases in px; () if there is none.
        any_device: whether scenes are made on the device of their index; otherwise on the CPU, and copied.
        reads_files: whether scenes are read from files; a worker then makes the next ones. It does not pay if scenes
            are computed: on two cores it cost 64 environments a third of their speed and 256 a tenth.
    """

    split: str
    channels: int
    classes: tuple[str, ...]
    count: int
    distinct_scenes: int | None = None
    knows_target: bool = False
    truth_known: bool = True
    prompt_size: int = 0
    prompt_names: tuple[str, ...] = ()
    canvas: int | None = None
    canvases: tuple[int, ...] = ()
    any_device: bool = False
    reads_files: bool = False

    def __init__(self, split: str):
        check_split(split)
        self.split = split

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; any index is a scene, and depends on nothing else.

        Args:
            index: [B] int64 >= 0, up to 2**63 - 1.

        Returns:
            Scenes with `images` made by `Images.prepare`, of `channels` channels; `label` [B] int64, 0 to the number of
            classes - 1; `box` [B, 4] float32 in gaze coordinates, centres in [-1, 1] and sides above 0 and up to 2, or
            all NaN unless `knows_target`; `prompt` [B, prompt_size] float32, finite; and `index` as it was given.
            The first n scenes of an evaluation split are a fair sample for every n: not class by class.
        """
        raise NotImplementedError

    def at_most(self, scenes: int) -> int:
        """Return how many scenes an evaluation counts that asks for `scenes`: no whole image twice."""
        return scenes if self.distinct_scenes is None else min(scenes, self.distinct_scenes)

    def sample(self, scenes: int) -> Tensor:
        """Return the indices of the scenes of an evaluation, [n] int64 with n = `at_most` (scenes)."""
        return torch.arange(self.at_most(scenes))

    def sample_text(self, scenes: int) -> str:
        """Return what an evaluation that asks for `scenes` counts, in words: "1,800 test scenes of 360 images"."""
        if self.distinct_scenes is None:
            return f"{scenes:,} {self.split} scenes of {self.count:,} images"
        counted = self.at_most(scenes)
        share = "all" if counted == self.distinct_scenes else f"{counted:,} of"
        return f"{share} {self.distinct_scenes:,} {self.split} images"

    @property
    def questions(self) -> dict[str, dict[str, Any]]:
        """Questions of the prompt by name: the "task" of each and its "config"; none by default."""
        return {}

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return a box for each scene that stage 1 looks near, [B, 4]: the target's, or what may be mistaken for it.

        Args:
            scenes: B scenes of this source.
            generator: randomness.
            progress: share of the training that is done, in [0, 1].
        """
        return scenes.box

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return what is asked of one of the scenes, in words; "" if all are asked the same."""
        return ""

    def truth_text(self, scenes: Scenes, row: int) -> str:
        """Return the right answer of one of the scenes, in words; by default the name of its class."""
        return self.classes[int(scenes.label[row])]

    @classmethod
    def small_pictures(cls, split: str, pictures: PictureSet) -> SmallPictures:
        """Return small pictures of a split, for other sources to lay on a canvas.

        Raises ValueError by default: most sources have none.
        """
        raise ValueError(
            "pictures_from must be a digit-type source (digits, mnist, fashion_mnist, kmnist) or 'folder', "
            f"got {pictures.pictures_from!r}"
        )


def check_split(split: str) -> None:
    """Raise ValueError unless `split` is one of SPLITS."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")


def split_training(count: int, split: str) -> Tensor:
    """Return the images of a split of a data set with a separate test part: a tenth of the training part validates.

    All are in a fixed random order, the test part too: files lie in the order of their classes, or the easy ones first.

    Args:
        count: number of images in the part that `split` is taken from.
        split: "train", "validation" or "test".
    """
    order = shuffled(count)
    if split == "test":
        return order
    validating = round(count * VALIDATION_SHARE)
    return order[:validating] if split == "validation" else order[validating:]
