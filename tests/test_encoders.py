"""The contract of an encoder, run on every one of the registry."""

import pytest
import torch

from foveal_encoders.base import Glimpse
from foveal_env.images import Images
from foveal_env.perception import ENCODERS
from foveal_env.retina import extract

SMALL = {"patch": 8, "zooms": 2, "width": 24}


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS.make(request.param, **SMALL).eval()


def glimpses(encoder, batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layout = encoder.layout
    shape = (batch, layout.patches, encoder.inputs.channels, layout.patch, layout.patch)
    return Glimpse(torch.rand(shape, generator=generator), torch.rand(batch, layout.patches, 3, generator=generator))


def test_shapes(encoder):
    state = encoder.step(encoder.initial(5), glimpses(encoder, 5))
    assert state.shape == (5, *encoder.state_shape)
    assert encoder.initial(5).shape == state.shape


def test_rows_do_not_see_each_other(encoder):
    seen = glimpses(encoder, 4)
    after = encoder.step(encoder.initial(4), seen)
    changed = Glimpse(seen.patches.clone(), seen.where)
    changed.patches[1:] = 0
    assert torch.allclose(encoder.step(encoder.initial(4), changed)[0], after[0], atol=1e-5)
    assert not torch.allclose(encoder.step(encoder.initial(4), changed)[1], after[1], atol=1e-3)


def test_position_matters(encoder):
    seen = glimpses(encoder, 2)
    moved = Glimpse(seen.patches, seen.where + 0.5)
    start = encoder.initial(2)
    assert not torch.allclose(encoder.step(start, seen), encoder.step(start, moved), atol=1e-4)


def test_the_order_of_glimpses_matters(encoder):
    first, second = glimpses(encoder, 2, seed=1), glimpses(encoder, 2, seed=2)
    forth = encoder.step(encoder.step(encoder.initial(2), first), second)
    back = encoder.step(encoder.step(encoder.initial(2), second), first)
    assert not torch.allclose(forth, back, atol=1e-4)


def test_a_gradient_crosses_steps_unless_the_state_is_detached(encoder):
    first = glimpses(encoder, 2, seed=1)
    first.patches.requires_grad_()
    state = encoder.step(encoder.initial(2), first)
    encoder.step(state, glimpses(encoder, 2, seed=2))[:, 0].sum().backward()
    assert first.patches.grad.abs().max() > 0
    first.patches.grad = None
    encoder.step(state.detach(), glimpses(encoder, 2, seed=2))[:, 0].sum().backward()
    assert first.patches.grad is None


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_prompt_steers_every_step(name):
    torch.manual_seed(0)
    encoder = ENCODERS.make(name, prompt_size=3, **SMALL).eval()
    states = []
    for prompt in torch.eye(3)[:2]:
        state = encoder.initial(1, prompt[None])
        for step in range(3):
            state = encoder.step(state, glimpses(encoder, 1, seed=step))
        states.append(state)
    assert states[0].shape == (1, *encoder.state_shape)
    assert not torch.allclose(states[0][:, 0], states[1][:, 0], atol=1e-4)
    for wrong in (None, torch.zeros(1, 2), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match="prompt"):
            encoder.initial(1, wrong)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_prompt_is_learned_at_every_step(name):
    encoder = ENCODERS.make(name, prompt_size=3, **SMALL)
    first = glimpses(encoder, 2)
    first.patches.requires_grad_()
    state = encoder.step(encoder.initial(2, torch.eye(3)[:2]), first)
    for step in range(2):
        state = encoder.step(encoder.detached(state), glimpses(encoder, 2, seed=step))
    state[:, 0].square().sum().backward()
    assert encoder.prompt.weight.grad.abs().max() > 0
    assert first.patches.grad is None or not first.patches.grad.any()


def test_a_prompt_that_is_not_wanted_is_refused(encoder):
    with pytest.raises(ValueError, match="takes no prompt"):
        encoder.initial(1, torch.zeros(1, 3))
    assert encoder.initial(1, torch.zeros(1, 0)).shape == (1, *encoder.state_shape)


def test_unknown_names_and_options():
    with pytest.raises(ValueError, match=r"unknown encoder 'nope'; known: gru, multizoom"):
        ENCODERS.make("nope")
    with pytest.raises(ValueError, match="cannot be imported"):
        ENCODERS.make("no.such.module:Thing")
    with pytest.raises(ValueError, match="cannot be imported"):
        ENCODERS.make("foveal_encoders.gru:Missing")
    with pytest.raises(TypeError, match="depht"):
        ENCODERS.make("multizoom", depht=3)
    with pytest.raises(ValueError, match="multiple of heads"):
        ENCODERS.make("multizoom", width=20, heads=3)
    with pytest.raises(ValueError, match="keypoints must be at least 0"):
        ENCODERS.make("multizoom", keypoints=-1)
    with pytest.raises(ValueError, match=r"'subprocess:run' is not a subclass of foveal_encoders.base:Encoder"):
        ENCODERS.make("subprocess:run", args="exit 1", shell=True)
    assert ENCODERS.make("foveal_encoders.gru:Gru", width=16).state_shape == (1, 16)


def test_waves_tell_close_places_apart():
    torch.manual_seed(0)
    encoder = ENCODERS.make("multizoom", frequencies=6, **SMALL).eval()
    plain = ENCODERS.make("multizoom", **SMALL).eval()
    seen = glimpses(encoder, 1)
    near = Glimpse(seen.patches, seen.where + torch.tensor([0.01, 0.0, 0.0]))
    moved = [(e.step(e.initial(1), near) - e.step(e.initial(1), seen)).norm() for e in (encoder, plain)]
    assert moved[0] > 3 * moved[1]


def test_contrast_shows_what_is_faint():
    torch.manual_seed(0)
    encoder = ENCODERS.make("multizoom", contrast=True, **SMALL).eval()
    seen, stem = [], encoder.stem[0]
    stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    loud = glimpses(encoder, 1)
    faint = Glimpse(loud.patches * 0.1 + 0.4, loud.where)
    flat = Glimpse(loud.patches * 0 + 0.4, loud.where)
    for glimpse in (loud, faint, flat):
        encoder.step(encoder.initial(1), glimpse)
    loud, faint, flat = (pixels[:, pixels.shape[1] // 2 :] for pixels in seen)
    assert faint.std() > 0.8 * loud.std()
    assert torch.corrcoef(torch.stack([faint.flatten(), loud.flatten()]))[0, 1] > 0.99
    assert flat.abs().max() < 1e-3


def test_keypoints_tell_where_something_stands_out():
    torch.manual_seed(0)
    encoder = ENCODERS.make("multizoom", keypoints=2, **SMALL).eval()
    side = encoder.layout.patch
    found, bright = encoder.keypoints, torch.zeros(side, side)
    with torch.no_grad():
        for layer in (found[0], found[2]):  # the first map is the picture, ten times as strong
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[0, 0, 1, 1] = 10.0
    bright[1, side - 2] = 1.0
    points, peaks = found(bright.expand(3, 1, side, side))
    assert points.shape == (3, 2, 2)
    assert peaks.shape == (3, 2)
    torch.testing.assert_close(points[:, 0], torch.tensor([1 - 3 / side, 3 / side - 1]).expand(3, 2))
    torch.testing.assert_close(points[:, 1], torch.zeros(3, 2), atol=1e-6, rtol=0)
    assert peaks[:, 0].min() > 0.99
    assert peaks[:, 1].max() < 2 / side**2

    seen, embed = [], encoder.places
    embed.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    where = glimpses(encoder, 1).where
    encoder.step(encoder.initial(1), Glimpse(bright.expand(1, where.shape[1], 1, side, side), where))
    placed = seen[0].unflatten(-1, (2, -1))[..., 0, :2]  # the narrower the patch, the closer to its centre
    offset = torch.tensor([1 - 3 / side, 3 / side - 1]) * torch.exp2(-where[..., 2:])
    torch.testing.assert_close(placed, where[..., :2] + offset)


def spatial_look(encoder, gaze, seed=0):
    """Return a glimpse as `foveal_env.retina` makes it of square images, with random pixels."""
    layout, batch = encoder.layout, len(gaze)
    offsets = layout.offsets()
    centre = gaze[:, None] + offsets[:, :2] * 2 * torch.exp2(-offsets[:, 2:])
    where = torch.cat([centre, offsets[:, 2:].expand(batch, -1, 1)], dim=2)
    shape = (batch, layout.patches, 1, layout.patch, layout.patch)
    return Glimpse(torch.rand(shape, generator=torch.Generator().manual_seed(seed)), where)


@pytest.fixture
def spatial():
    torch.manual_seed(0)
    layout = {"patch": 6, "zooms": 2, "zoom_range": (1.0, 2.0), "grid": 2, "grid_zoom": 1.0, "field": 0}
    return ENCODERS.make("spatial", side=8, **layout).eval()


def test_cells_know_how_sharply_and_how_often_they_were_seen(spatial):
    gaze = torch.tensor([[-0.5, -0.5]])  # the sharpest patch covers a quarter of each side, from -0.75 to -0.25
    state = spatial.initial(1)
    for seed in range(2):
        state = spatial.step(state, spatial_look(spatial, gaze, seed))
    cells = state[0, :64].unflatten(0, (8, 8))
    wide, middle, sharp, often = cells[..., :4].unbind(dim=-1)
    assert wide[:6, :6].min() > 0.9999  # all of the image around the gaze
    assert middle[:4, :4].min() > 0.9999
    assert middle[4:].abs().max() < 1e-5
    inside = torch.zeros(8, 8)
    inside[1:3, 1:3] = 1
    assert torch.allclose(sharp, inside, atol=1e-5)
    assert torch.allclose(often, inside * 2 / 8, atol=1e-5)


def test_a_glimpse_is_written_where_it_lies(spatial):
    """What changes in a patch changes the cells below it, and their neighbours; the others change by less."""
    gaze = torch.tensor([[0.5, -0.5]])
    glimpse = spatial_look(spatial, gaze)
    other = Glimpse(glimpse.patches.clone(), glimpse.where)
    other.patches[:, 1] = 0.5  # the sharpest one, which covers columns 5 and 6 of rows 1 and 2
    one, another = (spatial.step(spatial.initial(1), look)[0, :64] for look in (glimpse, other))
    change = (one - another).abs().sum(dim=-1).unflatten(0, (8, 8))
    near = torch.zeros(8, 8, dtype=torch.bool)
    near[0:4, 4:8] = True
    assert change[near].mean() > 0
    assert change[~near].max() < 1e-5


def test_places_are_right_on_an_image_that_is_no_square(spatial):
    images = Images.prepare(torch.rand(1, 1, 40, 120).mul(255).to(torch.uint8))
    seen = spatial.step(spatial.initial(1), extract(images, torch.zeros(1, 2), spatial.layout))[0, :64]
    sharp = seen.unflatten(0, (8, 8))[..., 2]  # 10 px of 40 x 120
    assert torch.allclose(sharp.sum(dim=0), torch.tensor([0.0, 0, 0, 2 / 3, 2 / 3, 0, 0, 0]), atol=1e-4)
    assert torch.allclose(sharp.sum(dim=1), torch.tensor([0.0, 0, 0, 2 / 3, 2 / 3, 0, 0, 0]), atol=1e-4)


@pytest.mark.parametrize("options", [{"patch": 1}, {"side": 0}, {"registers": 0}, {"width": 4}], ids=str)
def test_impossible_spatial_states_are_refused(options):
    with pytest.raises(ValueError, match="must be at least"):
        ENCODERS.make("spatial", **options)


@pytest.mark.parametrize("layout", [{"zooms": 0, "grid": 3, "patch": 5}, {"zooms": 2, "grid": 0, "patch": 7}], ids=str)
def test_any_layout_can_be_laid_onto_cells(layout):
    encoder = ENCODERS.make("spatial", side=4, **layout).eval()
    images = Images.prepare(torch.rand(2, 1, 50, 30).mul(255).to(torch.uint8))
    state = encoder.step(encoder.initial(2), extract(images, torch.zeros(2, 2), encoder.layout))
    assert state.shape == (2, *encoder.state_shape)
    assert state.isfinite().all()
