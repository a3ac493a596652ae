"""What a mixture policy answers: means, draws, densities and entropy."""

import math

import pytest
import torch

from foveal_agents.mixture import (
    Choice,
    Mixture,
    MixturePolicy,
    best,
    draw,
    entropy_bound,
    log_density,
    log_likelihood,
    sample,
)

OF_ONE_GAUSSIAN = math.log(2 * math.pi * math.e * 0.04)  # nats, in the plane, with deviation 0.2
MEANS = torch.tensor([[[-0.5, 0.0], [0.5, 0.2]]])
LOG_WEIGHTS = torch.tensor([[0.3, 0.7]]).log()


def density_on_a_grid():
    line = torch.linspace(-2, 2, 201)
    grid = torch.cartesian_prod(line, line)
    density = log_density(grid, MEANS.expand(len(grid), 2, 2), LOG_WEIGHTS.expand(len(grid), 2), 0.2).exp()
    return density, 0.02**2


def test_the_density_of_a_mixture_integrates_to_one():
    density, area = density_on_a_grid()
    assert (density.sum() * area).item() == pytest.approx(1, abs=1e-3)


def test_draws_have_the_mean_of_the_mixture():
    means, log_weights = MEANS.expand(20000, 2, 2), LOG_WEIGHTS.expand(20000, 2)
    draws = sample(means, log_weights, 0.2, torch.Generator().manual_seed(0))
    assert draws.mean(dim=0).tolist() == pytest.approx([0.2, 0.14], abs=0.02)


def test_the_bound_is_below_the_entropy():
    density, area = density_on_a_grid()
    entropy = -(density * density.log() * area).nansum().item()
    assert entropy_bound(MEANS, LOG_WEIGHTS, 0.2).item() <= entropy + 1e-3
    alone = entropy_bound(MEANS[:, :1], torch.zeros(1, 1), 0.2).item()
    assert alone == pytest.approx(OF_ONE_GAUSSIAN - 1 + math.log(2), abs=1e-5)


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


def test_a_new_policy_spreads_its_gaussians():
    means, log_weights, stop = MixturePolicy((2, 3), Mixture(components=4, width=8))(torch.zeros(1, 2, 3))
    assert torch.cdist(means[0], means[0]).fill_diagonal_(9).min() > 0.3
    assert torch.allclose(log_weights.exp(), torch.full((1, 4), 0.25), atol=0.02)
    assert stop is None


def test_a_new_policy_seldom_stops():
    choice = MixturePolicy((2, 3), stop=True)(torch.randn(5, 2, 3))
    assert choice.stop.sigmoid().tolist() == pytest.approx([0.119] * 5, abs=1e-3)


def test_a_grid_has_one_gaussian_in_each_cell():
    policy = MixturePolicy((2, 3), Mixture(width=8, grid=4))
    choice = policy(torch.randn(500, 2, 3, generator=torch.Generator().manual_seed(0)) * 100)
    assert choice.means.shape == (500, 16, 2)
    line = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    assert torch.equal(policy.cells, torch.cartesian_prod(line, line))
    assert 0.2 < (choice.means - policy.cells).abs().max() <= 0.25 + 1e-6


def test_the_entropy_of_a_grid_of_one_is_exact():
    alone = MixturePolicy((2, 3), Mixture(width=8, grid=1))
    choice = alone(torch.zeros(1, 2, 3))
    assert alone.entropy(choice, 0.2).item() == pytest.approx(OF_ONE_GAUSSIAN, abs=1e-5)
    assert alone.entropy(choice, 0.1) < alone.entropy(choice, 0.2)


def test_cells_near_an_earlier_gaze_are_excluded():
    policy = MixturePolicy((2, 3), Mixture(width=8, grid=2, inhibition_radius=0.5))
    gazes = torch.tensor([[[-0.5, -0.4], [torch.nan, torch.nan], [0.6, 0.6]]])
    assert policy.excluded(gazes).tolist() == [
        [[True, False, False, False], [True, False, False, False], [True, False, False, True]]
    ]
    choice = policy(torch.zeros(1, 2, 3), policy.excluded(gazes)[:, -1])
    assert choice.log_weights.exp()[0, [0, 3]].max() < 1e-6
    assert not MixturePolicy((2, 3), Mixture(width=8, grid=2)).excluded(gazes).any()


@pytest.mark.parametrize(
    ("mixture", "deviations"),
    [(Mixture(), [0.2, 0.15, 0.1]), (Mixture(grid=4), [0.25, 0.1875, 0.125]), (Mixture(std_end=0.2), [0.2] * 3)],
    ids=["free", "grid", "constant"],
)
def test_the_deviation_falls_from_start_to_end(mixture, deviations):
    assert [mixture.deviation(remaining) for remaining in (1.0, 0.5, 0.0)] == pytest.approx(deviations)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"grid": -1}, "grid must be at least 0, got -1"),
        ({"inhibition_radius": float("nan")}, "inhibition_radius must be at least 0, got nan"),
        ({"inhibition_radius": 0.1}, "inhibition_radius needs a grid"),
        ({"std_start": 0.0}, "std_start must be above 0, got 0.0"),
    ],
    ids=["components", "width", "grid", "radius", "no grid", "deviation"],
)
def test_impossible_mixtures_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MixturePolicy((2, 3), Mixture(**options))


def test_the_bound_is_that_of_huber():
    means = torch.tensor([[[0.0, 0.0], [0.4, 0.1], [-0.2, 0.3]]])
    weights = torch.tensor([0.5, 0.3, 0.2])
    bound = 0.0
    for mean, weight in zip(means[0], weights, strict=True):
        squared = (means[0] - mean).square().sum(dim=1)
        density = (-squared / (4 * 0.04)).exp() / (4 * math.pi * 0.04)  # of a Gaussian with twice the variance
        bound -= weight.item() * (weights * density).sum().log().item()
    assert entropy_bound(means, weights.log()[None], 0.2).item() == pytest.approx(bound, abs=1e-5)
