"""Find it: the episode ends as soon as the head points at the target."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.tasks.base import Metric, share, two_layers
from foveal_env.tasks.locate import distance
from foveal_env.tasks.point import Point

CELLS = 16  # along a side of the image, if the state does not lie on it
HIDDEN = 64  # units that read a cell of a state that lies on the image
REACH = 2.0  # how far from its centre a cell points at most, in half sides of a cell


class Search(Point):
    """Point at the target that the prompt names, within `tolerance` of its centre.

    Who declares what it has found pays for false alarms: with `declare` an episode ends as soon as the head is that
    sure of its point, in success or not; otherwise the last point is the answer. Without it, an episode ends as soon as
    the point is right, and wrong guesses cost nothing.

    The head answers with a point, and with the probability of each of S x S cells of the image that the target lies
    there. If the state lies on the image (`Encoder.state_grid`), each of its cells is read with the same weights, and
    says how likely it is and where in it the target would be; the point is that of the likeliest. Otherwise two layers
    read the whole state, and S is CELLS.

    The loss is log(1 + d) plus the cross-entropy of the cells, and d is the distance of the point in sides of the
    target; of cells that point themselves, the expected log(1 + d). A look that rules out a candidate lowers the
    cross-entropy, as in Najemnik and Geisler's ideal searcher (Nature 434, 2005); the point alone gains nothing before
    the target is found. The score is the probability of the target's own cell.

    Args:
        state_shape: (N, D).
        tolerance: distance that counts as success, in sides of the target.
        declare: probability of its own point from which on a searcher declares; 0 ends an episode at the first hit. The
            probability is that of all cells that point there.
        state_grid: (rows, columns) of the state's first tokens, if they lie on the image.

    Raises ValueError if the tolerance is not above 0, `declare` is no probability, or the grid is no square.
    """

    ends_on_success = True

    def __init__(
        self,
        state_shape: tuple[int, int],
        *,
        tolerance: float = 0.5,
        declare: float = 0.0,
        state_grid: tuple[int, int] | None = None,
    ):
        if not 0 <= declare <= 1:
            raise ValueError(f"declare is a probability, or 0 to end at the first hit, got {declare}")
        self.declare, self.answer_size = declare, 3 if declare else 2
        self.map_side, self.has_cells = (state_grid[0], True) if state_grid else (CELLS, False)
        if state_grid and state_grid[0] != state_grid[1]:
            raise ValueError(f"a search needs as many rows as columns of cells, got {state_grid}")
        super().__init__(state_shape, tolerance=tolerance)

    def head(self, state_shape: tuple[int, int]) -> nn.Module:
        """Return the layers that read a state."""
        if self.has_cells:
            return CellHead(self.map_side**2, *state_shape)
        return two_layers(state_shape, hidden=2 * state_shape[1], size=2 + CELLS**2)

    def forward(self, state: Tensor) -> Tensor:
        """Return the point, and of each cell the logit and perhaps the point, [B, 2 + S * S (+ 2 * S * S)]."""
        read = self.read(state)
        if not self.has_cells:
            return read
        logits, shift = read[..., 0], read[..., 1:].float().tanh() * (REACH / self.map_side)
        points = super().cell_points(state) + shift  # [B, S * S, 2]
        likeliest = logits.argmax(dim=1)[:, None, None].expand(-1, 1, 2)
        return torch.cat([points.gather(1, likeliest)[:, 0], logits.float(), points.flatten(1)], dim=1)

    def target_map(self, answer: Tensor) -> Tensor:
        """Return the logits of the cells, [B, S, S], rows along y."""
        return answer[:, 2 : 2 + self.map_side**2].unflatten(1, (self.map_side, self.map_side))

    def cell_points(self, answer: Tensor) -> Tensor:
        """Return where in each cell the target would be, [B, S * S, 2] (x, y): its centre if the cells do not say."""
        if not self.has_cells:
            return super().cell_points(answer)
        return answer[:, 2 + self.map_side**2 :].unflatten(1, (-1, 2))

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score what `forward` returns: the score is the probability of the target's own cell."""
        answer, side = answer.float(), self.map_side
        point, cells = answer[:, :2], answer[:, 2 : 2 + side**2]
        column, row = ((scenes.box[:, :2] + 1) / 2 * side).long().clamp(0, side - 1).unbind(dim=1)
        surprise = nn.functional.cross_entropy(cells, row * side + column, reduction="none")
        far = distance(point, scenes.box)
        if self.has_cells:
            away = (self.cell_points(answer) - scenes.box[:, None, :2]) / scenes.box[:, None, 2:]
            away = away.square().sum(dim=-1).clamp(min=1e-12).sqrt()
            expected = (cells.softmax(dim=-1) * away.log1p()).sum(dim=-1)
        else:
            expected = far.log1p()
        prediction = torch.cat([point, self._sureness(answer)[:, None]], dim=1) if self.declare else point
        return Outcome(expected + surprise, (-surprise).exp(), far <= self.tolerance, prediction)

    def ends(self, outcome: Outcome) -> Tensor:
        """Return which answers end an episode, [B] bool: those that it is sure of, or else the right ones."""
        return outcome.prediction[:, 2] >= self.declare if self.declare else outcome.correct

    def _sureness(self, answer: Tensor) -> Tensor:
        """Return the probability of the cells that point where the whole answer does, [B]."""
        apart = (self.cell_points(answer) - answer[:, None, :2]).square().sum(dim=-1).sqrt()
        return (self.target_map(answer).flatten(1).softmax(dim=-1) * (apart < 1 / self.map_side)).sum(dim=-1)

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return a small box around the point."""
        return super().boxes(prediction[:2], prompt)

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return the distance in sides of the target, the length of the gaze's path in px, and SPL.

        SPL is success weighted by path length (Anderson et al. 2018, arXiv 1807.06757): success x l / max(p, l). The
        gaze's path has the length p. The straight path from the first gaze to the first point within the tolerance has
        the length l. Both are in px of the image. If l is 0, a success has an SPL of 1 whatever its path, because an
        episode cannot succeed before its first step.
        """
        scenes, gazes = episode.scenes, episode.gazes[..., :2]
        half = scenes.images.size.flip(1)[:, None].to(gazes) / 2
        steps = (gazes[:, 1:] - gazes[:, :-1]) * half
        path = steps.nan_to_num().square().sum(dim=-1).sqrt().sum(dim=-1)
        first = torch.where(gazes[:, 0].isnan(), gazes[:, 1], gazes[:, 0]).nan_to_num()
        away = (first - scenes.box[:, :2]) * half[:, 0]
        reach = self.tolerance * (scenes.box[:, 2:] * half[:, 0]).mean(dim=-1)
        shortest = (away.square().sum(dim=-1).sqrt() - reach).clamp(min=0)
        longer = (path > shortest) & (shortest > 0)
        spl = torch.where(longer, shortest / path, 1.0) * episode.outcome.correct
        return {"distance": distance(episode.outcome.prediction[:, :2], scenes.box), "path_length": path, "spl": spl}

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The success, the success weighted by path length, and the number of glimpses."""
        glimpses = Metric(title="glimpses", by_look=False, falls=True)
        return {"success": share("success"), "spl": share("SPL", by_look=False), "glimpses": glimpses}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return whether the target is found, SPL, and the glimpses that were taken."""
        return {"success": episode.outcome.correct, "spl": self.info(episode)["spl"], "glimpses": episode.glimpses}


class CellHead(nn.Module):
    """Reads each cell of a state that lies on the image, and what the other tokens and all cells tell, [B, S * S, 3].

    Args:
        cells: number of cells, S * S: the first tokens.
        tokens: number of tokens, N.
        width: their width, D.
    """

    def __init__(self, cells: int, tokens: int, width: int):
        super().__init__()
        self.cells = cells
        self.cell = nn.Linear(width, HIDDEN)
        self.context = nn.Linear(width * (1 + tokens - cells), HIDDEN, bias=False)
        self.out = nn.Linear(HIDDEN, 3)

    def forward(self, state: Tensor) -> Tensor:
        """Return of each cell a logit, and how far the target lies from its centre, (x, y) without a bound."""
        cells, rest = state[:, : self.cells], state[:, self.cells :]
        context = self.context(torch.cat([cells.mean(dim=1), rest.flatten(1)], dim=1))
        return self.out((self.cell(cells) + context[:, None]).relu())
