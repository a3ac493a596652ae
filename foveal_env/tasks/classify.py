"""Which class is it?"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks.base import Metric, Task, share


class Classify(Task):
    """Which class is it? A linear layer on one state token, softmax cross-entropy.

    The token is the first that does not lie on the image: number 0 (the papers' best on ImageNet), or a register.

    Args:
        state_shape: (N, D).
        classes: names of the classes.
        state_grid: (rows, columns) of the state's first tokens, if they lie on the image.
    """

    def __init__(
        self,
        state_shape: tuple[int, int],
        *,
        classes: Sequence[str],
        state_grid: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.classes = tuple(classes)
        self.token = state_grid[0] * state_grid[1] if state_grid else 0
        self.linear = nn.Linear(state_shape[1], len(classes))

    def forward(self, state: Tensor) -> Tensor:
        """Return the logits [B, classes]."""
        return self.linear(state[:, self.token])

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score logits [B, classes]: the loss is the cross-entropy, the score the probability of the true class."""
        loss = nn.functional.cross_entropy(answer.float(), scenes.label, reduction="none")
        prediction = answer.argmax(dim=-1)
        return Outcome(loss, (-loss).exp(), prediction == scenes.label, prediction)

    def answer_text(self, prediction: Tensor, prompt: Tensor) -> str:
        """Return the name of the class."""
        return self.classes[int(prediction)]

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The accuracy."""
        return {"accuracy": share("accuracy")}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return whether the answers are right."""
        return {"accuracy": episode.outcome.correct}

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the names of the classes."""
        return {"classes": list(source.classes)}
