"""The loops over pixels and indices: each in two forms that are held equal, and what both have in common."""

import mmap
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import noise

from foveal_env import kernels
from foveal_env.images import Images
from foveal_env.kernels.box_averages import box_averages
from foveal_env.kernels.crops import add_crops
from foveal_env.kernels.dispatch import dispatch
from foveal_env.kernels.hashing import scramble, shuffled
from foveal_env.kernels.pyramid import fill_levels, levels, pyramid_length
from foveal_env.kernels.threads import Threads, share

side = st.one_of(st.integers(1, 12), st.integers(13, 300))
sizes = st.lists(st.tuples(side, side), min_size=1, max_size=4)


def seeded(draw):
    return torch.Generator().manual_seed(draw(st.integers(0, 99)))


@st.composite
def numbers(draw):
    return (torch.randint(-(2**63), 2**63 - 1, (3, 1000), generator=seeded(draw)),)


@st.composite
def crops(draw):
    generator, pictures, length = seeded(draw), noise(5, 12, 12), draw(st.integers(1, 8))
    which = torch.randint(5, (20, 6), generator=generator)
    crop, corner = (torch.randint(top, (20, 6, 2), generator=generator) for top in (5, 20))
    return torch.zeros(20, 30, 30, dtype=torch.uint8), pictures, which, crop, corner, length


@st.composite
def bare_pyramids(draw):
    """Pyramids whose first level is noise and whose other levels are still 0."""
    size = torch.tensor(draw(sizes))
    lengths = levels(size)[2]
    offset = lengths.cumsum(0) - lengths
    texels = torch.zeros(int(lengths.sum()), draw(st.integers(1, 4)), dtype=torch.uint8)
    for first, count in zip(offset.tolist(), size.prod(dim=1).tolist(), strict=True):
        texels[first : first + count] = noise(count, texels.shape[1], seed=first)
    return texels, offset, size


@st.composite
def squares(draw):
    texels, offset, size = draw(bare_pyramids())
    fill_levels(texels, offset, size)
    generator, zoom = seeded(draw), draw(st.floats(-1, 4)) + torch.linspace(0, 1, 3)
    centre = (torch.rand(len(size), 3, 2, generator=generator) * 2 - 0.5) * size.flip(1)[:, None]
    length = size.amin(dim=1, keepdim=True) * torch.exp2(-zoom)
    patch = draw(st.integers(1, 40))
    # A place at 300 px is rounded to 3e-5 px. Of a box of 1/8 px that is 2e-4, and of a narrower one it is more.
    return texels, offset, size, centre, length.float().clamp(min=patch / 8), patch


ARGUMENTS = {  # of each kernel, and how far its two forms may be apart
    "mix": (numbers(), 0),
    "add_crops": (crops(), 0),
    "fill_levels": (bare_pyramids(), 0),
    "box_averages": (squares(), 3e-4),
}
MODULES = [import_module(f"foveal_env.kernels.{module.name}") for module in iter_modules(kernels.__path__)]
COMPILED = {
    name.removesuffix("_compiled"): module for module in MODULES for name in vars(module) if name.endswith("_compiled")
}


@pytest.mark.parametrize("kernel", COMPILED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_compiled_equals_tensors(kernel, data):
    strategy, tolerance = ARGUMENTS[kernel]
    arguments = data.draw(strategy)
    results = []
    for form in ("compiled", "in_tensors"):
        first, *rest = (value.clone() if isinstance(value, torch.Tensor) else value for value in arguments)
        options = {"side": rest.pop()} if kernel == "add_crops" else {}
        result = getattr(COMPILED[kernel], f"{kernel}_{form}")(first, *rest, **options)
        results.append(first if result is None else result)  # some work in place
    assert results[0].dtype == results[1].dtype
    assert torch.allclose(*results, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("device", "form"), [("cpu", "compiled"), ("meta", "tensors")])
def test_the_compiled_form_is_for_the_cpu_alone(device, form):
    forms = {"compiled": lambda: "compiled", "in_tensors": lambda: "tensors"}
    assert dispatch(torch.empty(0, device=device), **forms)() == form


def test_scrambled_numbers_are_uniform_and_depend_on_every_argument():
    draws = scramble(torch.arange(20000), 1).double() / 2**53
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(draws.std() - 12**-0.5) < 0.01
    assert draws.min() >= 0
    assert draws.max() < 1
    assert not torch.equal(scramble(torch.arange(5), 1), scramble(torch.arange(5), 2))
    assert not torch.equal(scramble(torch.arange(5), 1, 2), scramble(torch.arange(5), 2, 1))
    both = scramble(torch.arange(5)[:, None], 1, torch.tensor([2, 3]))
    assert torch.equal(both[:, 1], scramble(torch.arange(5), 1, 3))


def test_scrambled_numbers_are_fixed_for_ever():
    """The test scenes of everybody depend on them."""
    assert scramble(torch.tensor([0, 1]), 0, 7).tolist() == [5562381054876761, 1590316259159470]


def test_an_order_has_every_number_once():
    assert sorted(shuffled(100, 3).tolist()) == list(range(100))
    assert not torch.equal(shuffled(100, 3), shuffled(100, 4))


def test_crops_add_up_to_white_at_most():
    canvas, pictures = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.full((1, 2, 2), 100, dtype=torch.uint8)
    corner = torch.tensor([[[0, 1], [1, 1], [1, 1]]])  # (x, y)
    add_crops(canvas, pictures, torch.zeros(1, 3).long(), torch.zeros(1, 3, 2).long(), corner, side=2)
    assert canvas[0].tolist() == [[0] * 4, [100, 255, 200, 0], [100, 255, 200, 0], [0] * 4]


def test_a_texel_is_the_average_of_four_and_the_mean_stays():
    length = pyramid_length(512, 512)
    texels = torch.zeros(length, 1, dtype=torch.uint8)
    texels[: 512**2] = image = noise(512**2, 1)
    fill_levels(texels, torch.tensor([0]), torch.tensor([[512, 512]]))
    fours = image.view(256, 2, 256, 2).double().mean(dim=(1, 3))
    assert (texels[512**2 :][: 256**2].view(256, 256) - fours).abs().max() <= 0.5
    assert texels[-1].item() == pytest.approx(image.double().mean().item(), abs=0.7)  # rounding up alone would add 1.1


@given(side, side)
def test_the_length_of_a_pyramid_is_that_of_its_levels(height, width):
    starts, shapes, length = levels(torch.tensor([[height, width]]))
    assert length.item() == pyramid_length(height, width)
    assert shapes[0, -1].tolist() == [1, 1]
    assert starts[0, 0] == 0


@pytest.mark.parametrize("wrong", [0.0, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("form", ["compiled", "in_tensors"])
def test_a_side_must_be_above_nothing_and_finite(form, wrong):
    texels, offset, size = torch.zeros(pyramid_length(9, 9), 1).byte(), torch.tensor([0]), torch.tensor([[9, 9]])
    average = getattr(COMPILED["box_averages"], f"box_averages_{form}")
    with pytest.raises(ValueError, match="the side of a patch must be above 0 and finite"):
        average(texels, offset, size, torch.zeros(1, 2, 2), torch.tensor([[3.0, wrong]]), 4)


def test_more_texels_across_a_box_are_more_exact():
    texels, offset = torch.zeros(pyramid_length(256, 256), 1, dtype=torch.uint8), torch.tensor([0])
    texels[: 256**2], size = noise(256**2, 1), torch.tensor([[256, 256]])
    fill_levels(texels, offset, size)
    square = torch.tensor([[[123.4, 131.3]]]), torch.tensor([[201.7]])
    one, four, exact = (box_averages(texels, offset, size, *square, 8, finest=finest) for finest in (1.0, 4.0, 99.0))
    assert (four - exact).abs().mean() < (one - exact).abs().mean() / 2


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 70])
def test_work_is_done_once_whatever_the_number_of_threads(threads, count, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = []
    share(lambda first, last: parts.extend(range(first, last)), count, seconds=1)
    assert sorted(parts) == list(range(count))


def test_small_work_is_not_shared(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    parts = []
    share(lambda first, last: parts.append((first, last)), 70, seconds=1e-5)
    assert parts == [(0, 70)]


def test_an_error_of_any_thread_arrives(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

    def work(first, last):
        raise ValueError("out of ink")

    with pytest.raises(ValueError, match="out of ink"):
        share(work, 70, seconds=1)


def test_threads_are_prepared_once_and_keep_the_order():
    prepared = []
    threads = Threads("test", count=2, prepare=prepared.append)
    assert not prepared
    assert list(threads.map(abs, [-3, 2, -1])) == [3, 2, 1]
    assert threads.submit(abs, -4).result() == 4
    assert len(prepared) == 1


@pytest.mark.parametrize("exponent", range(16, 38, 3))
def test_a_patch_far_larger_than_its_image_is_black(exponent):
    images = Images.prepare(torch.full((40, 3, 20, 2), 255, dtype=torch.uint8))
    centre = torch.linspace(-3, 20, 80).view(40, 1, 2)
    for patch in (5, 6, 9, 16, 25):
        averages = images.box_averages(centre, torch.full((40, 1), 10.0**exponent), patch)
        assert averages.abs().max() < 1e-6


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="no guarded memory here")
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_read_or_written_beyond_the_memory_of_texels_and_patches(seed):
    """Texels that end where a page that may not be touched begins; the same in front of them."""
    code = """
import ctypes, mmap, sys
import numpy as np, torch
from foveal_env.images import Images
random = np.random.default_rng(int(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)

def guarded(texels, front):
    page, size = mmap.PAGESIZE, len(texels)
    room = -(-size // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for wall in (start, start + page + room):
        assert libc.mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(page), 0) == 0
    first = page if front else page + room - size
    inside = np.frombuffer(memory, np.uint8, size, first)
    inside[:] = texels
    return inside

for number in range(300):
    channels, patch = random.integers(1, 5), int(random.integers(1, 36))
    sizes = random.integers(1, random.integers(2, 70), (random.integers(1, 4), 2))
    shapes = [(channels, *size) for size in sizes]
    images = Images.prepare([torch.from_numpy(random.integers(256, size=s, dtype=np.uint8)) for s in shapes])
    texels = guarded(images.texels.numpy().reshape(-1), number % 2)
    images = Images(torch.from_numpy(texels).view(-1, int(channels)), images.offset, images.size)
    centre = torch.from_numpy(random.uniform(-0.5, 1.5, (len(sizes), 3, 2))).float() * images.size.flip(1)[:, None]
    side = torch.from_numpy(np.exp(random.uniform(-3, 6, (len(sizes), 3)))).float()
    if number % 7 == 0:
        side *= 10.0 ** random.integers(0, 30)
    patches = images.box_averages(centre, side, patch)
    assert -1e-3 <= patches.min() and patches.max() <= 1 + 1e-3, (number, patches.min(), patches.max())
"""
    run = subprocess.run([sys.executable, "-c", code, str(seed)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:] or run.returncode
