"""Scenes made ahead, by a worker or after a fork."""

import os
import signal
import threading
import time

import pytest
import torch
from image_files import write_folder

from foveal_env.sources.digits import Digits
from foveal_env.sources.folder import Folder
from foveal_env.sources.prefetch import Prefetcher


@pytest.fixture
def source(tmp_path):
    """A folder of this test's own, whose validation scene i shows file i of 4."""
    return Folder("validation", folder=write_folder(tmp_path))


@pytest.fixture
def made(source, monkeypatch):
    """The batches that the source has made: the thread that did, and their indices."""
    batches, scenes = [], source.scenes

    def record(index):
        batches.append((threading.current_thread().name, index.tolist()))
        return scenes(index)

    monkeypatch.setattr(source, "scenes", record)
    return batches


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore")  # of forking a process with threads
def test_a_forked_child_reads_and_does_not_wait_for_ever(source):
    prefetcher = Prefetcher(source)
    prefetcher.prefetch(torch.arange(3))
    child = os.fork()
    if not child:
        try:
            os._exit(int(len(prefetcher.get(torch.arange(3))) != 3))
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


@pytest.mark.parametrize("rows", [[0, 1, 2], [3], [0, 3], [2, 1, 0], [0, 0]])
def test_scenes_made_ahead_are_the_same_scenes(rows):
    source = Digits(canvas=40, clutter=2)
    source.reads_files = True
    prefetcher, index = Prefetcher(source), torch.tensor([5, 3, 9, 4])
    for ahead in (index[:3], index):
        prefetcher.prefetch(ahead)
        scenes, expected = prefetcher.get(index[rows]), source.scenes(index[rows])
        assert torch.equal(scenes.index, expected.index)
        assert torch.equal(scenes.label, expected.label)
        for row in range(len(rows)):
            assert torch.equal(scenes.images.pixels(row), expected.images.pixels(row))


def test_scenes_are_made_once_and_by_the_worker(source, made):
    prefetcher = Prefetcher(source)
    prefetcher.prefetch(torch.arange(4))
    prefetcher.get(torch.tensor([1, 2]))
    assert prefetcher.pending == {0, 3}
    prefetcher.get(torch.tensor([3, 0]))
    assert not prefetcher.pending
    assert [numbers for _, numbers in made] == [[0, 1, 2, 3]]
    assert "foveal_env.prefetch" in made[0][0]


def test_scenes_that_are_asked_for_no_more_are_given_up(source, made):
    prefetcher = Prefetcher(source)
    prefetcher.prefetch(torch.tensor([7, 8]))
    prefetcher.prefetch(torch.tensor([8, 9]))  # 8 is under way already
    assert prefetcher.pending == {8, 9}
    prefetcher.get(torch.tensor([9, 8]))
    assert [numbers for _, numbers in made] == [[7, 8], [9]]


def test_nothing_is_made_ahead_unless_files_are_read():
    prefetcher = Prefetcher(Digits(canvas=40))
    prefetcher.prefetch(torch.arange(3))
    assert not prefetcher.pending


def test_an_error_arrives_with_the_scenes_that_have_it(source):
    prefetcher = Prefetcher(source)
    source.paths[0].unlink()
    prefetcher.prefetch(torch.tensor([0, 1]))
    assert len(prefetcher.get(torch.tensor([1]))) == 1  # the error of another row is not raised here
    prefetcher.prefetch(torch.tensor([0, 1]))
    with pytest.raises(FileNotFoundError, match="no such image"):
        prefetcher.get(torch.tensor([0, 1]))
