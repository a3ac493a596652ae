"""The likelihood of actions under a mixture."""

import pytest
import torch

from foveal_agents.mixture import Choice, best, draw, log_likelihood


def test_the_likelihood_of_actions_that_stop():
    choice = Choice(torch.zeros(4000, 1, 2), torch.zeros(4000, 1), torch.full((4000,), 0.5))
    actions = draw(choice, 0.2, torch.Generator().manual_seed(0))
    stopped = actions[:, -1] > 0
    assert stopped.float().mean().item() == pytest.approx(torch.tensor(0.5).sigmoid().item(), abs=0.03)
    likelihood = log_likelihood(actions, choice, 0.2)
    assert likelihood[stopped].exp().tolist() == pytest.approx([0.6225] * int(stopped.sum()), abs=1e-3)
    other = actions.clone()
    other[:, :2] += 1  # where an action stops, its gaze does not count
    assert torch.equal(log_likelihood(other, choice, 0.2)[stopped], likelihood[stopped])
    assert best(choice)[0].tolist() == [0, 0, 1]
