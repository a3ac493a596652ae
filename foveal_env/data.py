"""All that is passed around: frozen dataclasses of [B, ...] tensors.

B batch, Q prompt size, N state tokens, D width, T glimpses.
"""

from dataclasses import dataclass

from torch import Tensor

from foveal_env.batch import Batch
from foveal_env.images import Images


@dataclass(frozen=True)
class Scenes(Batch):
    """A batch of B scenes."""

    images: Images
    label: Tensor  # [B] int64, the class
    box: Tensor  # [B, 4] float32 (x, y of the centre, width, height) of the target in gaze coordinates; NaN if unknown
    prompt: Tensor  # [B, Q] float32, the question; Q = 0 for none
    index: Tensor  # [B] int64, number of each scene in its split

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Outcome(Batch):
    """What a head's answer is worth, for each scene of a batch."""

    loss: Tensor  # [B] float >= 0, 0 for a perfect answer; nats if the answer is a distribution
    score: Tensor  # [B] float in [0, 1]: the probability given to the truth, or else how good the answer is
    correct: Tensor  # [B] bool
    prediction: Tensor  # [B, ...] the answer itself: the index of a class, a box, an image


@dataclass(frozen=True)
class Episode(Batch):
    """B episodes under way: all that changes, nothing that does not."""

    scenes: Scenes
    state: Tensor  # [B, N, D] float32, the encoder's
    outcome: Outcome  # of the head's answer to that state
    gazes: Tensor  # [B, 1 + T, 2 or 3] float32, first look and then each glimpse; NaN if it was not taken
    glimpses: Tensor  # [B] int64, glimpses taken since the first look
    ended: Tensor  # [B] bool
