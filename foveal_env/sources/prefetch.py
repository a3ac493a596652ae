"""Scenes made ahead: a worker reads and prepares the next images while the present ones are looked at."""

import os
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.kernels.threads import Threads
from foveal_env.sources.base import Source


def _one_torch_thread(pool: ThreadPoolExecutor) -> None:
    """Let torch use one thread in the worker: its setting is each thread's own, but new threads take the last made."""
    threads = torch.get_num_threads()
    pool.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(threads)


_worker = Threads("foveal_env.prefetch", count=1, prepare=_one_torch_thread)


class Prefetcher:
    """Hands out the scenes of a source; those that were prefetched are ready, or soon will be.

    A scene is a function of its index. So prefetching changes the time it takes and nothing else.
    """

    def __init__(self, source: Source):
        self.source = source
        self._places: dict[int, tuple[Future, int]] = {}  # index of a scene: the batch it is made in, and its row
        self._process = os.getpid()  # a forked child has no worker that would finish them

    @property
    def pending(self) -> set[int]:
        """Indices of the scenes that were prefetched and not yet handed out."""
        return set(self._places)

    def prefetch(self, index: Tensor) -> None:
        """Begin to make the scenes that `get` will be asked for next, by index [B] int64; any others are given up.

        Does nothing unless the source reads files.
        """
        if not self.source.reads_files:
            return
        numbers = list(dict.fromkeys(index.tolist()))
        under_way = {number: self._places[number] for number in numbers if number in self._places}
        for future in {future for future, _ in self._places.values()} - {future for future, _ in under_way.values()}:
            future.cancel()
        self._places, self._process = under_way, os.getpid()
        missing = [number for number in numbers if number not in self._places]
        if missing:
            future = _worker.submit(self.source.scenes, torch.tensor(missing))
            self._places.update((number, (future, row)) for row, number in enumerate(missing))

    def get(self, index: Tensor) -> Scenes:
        """Return scenes by index [B] int64; what the source raises for any of them is raised here."""
        numbers = index.tolist()
        if self._process != os.getpid() or any(number not in self._places for number in numbers):
            return self.source.scenes(index)
        places = [self._places.pop(number) for number in dict.fromkeys(numbers)]
        futures = list(dict.fromkeys(future for future, _ in places))
        if len(places) < len(numbers) or any(future.exception() for future in futures):
            return self.source.scenes(index)  # a scene twice, or one that failed: perhaps none of these
        if len(futures) == 1 and torch.equal(futures[0].result().index, index):
            return futures[0].result()
        return Scenes.cat([future.result().rows([row]) for future, row in places])
