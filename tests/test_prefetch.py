"""Scenes made ahead, by a worker or after a fork."""

import os
import signal
import threading
import time

import pytest
import torch
from image_files import write_folder

from foveal_env.kernels.hashing import scramble
from foveal_env.sources.composed import Digits
from foveal_env.sources.pictures import Folder
from foveal_env.sources.prefetch import Prefetcher


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore")  # of forking a process with threads
def test_a_forked_child_reads_and_does_not_wait_for_ever(folder):
    source = Folder(folder=folder)
    ahead = Prefetcher(source)
    ahead.request(torch.arange(3))
    child = os.fork()
    if not child:
        try:
            os._exit(int(len(ahead.take(torch.arange(3))) != 3))
        finally:
            os._exit(2)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
    assert done
    assert status == 0


def _shown(source, number):
    """Return which picture scene `number` shows."""
    return int(scramble(torch.tensor([number]), 0)[0] % source.count)


def test_scenes_made_ahead_are_the_same_scenes():
    source = Digits(canvas=40, clutter=2)
    source.reads_files = True
    ahead, index = Prefetcher(source), torch.tensor([5, 3, 9, 4])
    ahead.request(index[:3])
    for chosen in ([0, 1, 2], [3], [0, 3]):
        ahead.request(index)
        for part in (index[chosen], index[chosen].flip(0), index[[0, 0]]):
            scenes, expected = ahead.take(part), source.scenes(part)
            assert torch.equal(scenes.index, part)
            assert torch.equal(scenes.label, expected.label)
            for row in range(len(part)):
                assert torch.equal(scenes.images.pixels(row), expected.images.pixels(row))


def test_scenes_are_made_by_the_worker_once_and_its_errors_arrive(folder):
    source = Folder(folder=folder)
    made = []
    scenes = source.scenes
    source.scenes = lambda index: made.append((threading.current_thread().name, index.tolist())) or scenes(index)
    ahead = Prefetcher(source)
    ahead.request(torch.arange(4))
    ahead.take(torch.tensor([1, 2]))
    ahead.take(torch.tensor([3, 0]))
    ahead.request(torch.tensor([7, 8]))
    ahead.request(torch.tensor([8, 9]))  # 8 is under way already, 7 is given up
    ahead.take(torch.tensor([9, 8]))
    assert not ahead._places
    assert [numbers for _, numbers in made] == [[0, 1, 2, 3], [7, 8], [9]]
    assert "foveal_env.ahead" in made[0][0]
    bad = source.paths[0]
    good = [n for n in range(40) if source.paths[_shown(source, n)] != bad][:1]
    bad_one = [n for n in range(400) if source.paths[_shown(source, n)] == bad][:1]
    bad.unlink()
    ahead.request(torch.tensor(good + bad_one))
    assert len(ahead.take(torch.tensor(good))) == 1  # what another row would raise is not raised here
    for path in source.paths:
        path.unlink(missing_ok=True)
    ahead.request(torch.arange(4))
    with pytest.raises(FileNotFoundError, match="no such image"):
        ahead.take(torch.arange(4))
