"""Scenes made ahead: a worker reads and prepares the next pictures while the present ones are looked at."""

import os
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from foveal_env.sources.base import Scenes, Source

_worker: list[ThreadPoolExecutor] = []  # one for the process, made when first needed
os.register_at_fork(after_in_child=_worker.clear)


class Ahead:
    """Hands out the scenes of a source; those that were requested before are ready, or soon will be.

    A scene is a function of its index, so that whether, when and in which order scenes are requested changes nothing
    but the time.
    """

    def __init__(self, source: Source):
        self.source = source
        self._places: dict[int, tuple[Future, int]] = {}  # index of a scene: the batch it is made in, and its row

    def request(self, index: Tensor) -> None:
        """Begin to make the scenes that will be asked for next, by index [B] int64; any others are given up.

        Does nothing for a source that does not wait for files.
        """
        if not self.source.waits:
            return
        numbers = list(dict.fromkeys(index.tolist()))
        self._places = {number: self._places[number] for number in numbers if number in self._places}
        missing = [number for number in numbers if number not in self._places]
        if missing:
            future = _pool().submit(self.source.scenes, torch.tensor(missing))
            self._places.update((number, (future, row)) for row, number in enumerate(missing))

    def take(self, index: Tensor) -> Scenes:
        """Return scenes by index [B] int64; what the source raised for any of them is raised here."""
        numbers = index.tolist()
        if not self._places or any(number not in self._places for number in numbers):
            return self.source.scenes(index)
        places = [self._places.pop(number) for number in dict.fromkeys(numbers)]
        futures = list(dict.fromkeys(future for future, _ in places))
        if len(futures) == 1 and len(futures[0].result()) == len(numbers) == len(places):
            scenes = futures[0].result()
            return scenes if torch.equal(scenes.index, index) else scenes.rows([row for _, row in places])
        if len(places) < len(numbers):  # a scene that is asked for twice
            return self.source.scenes(index)
        parts = [future.result().rows([row]) for future, row in places]
        return Scenes.cat(parts)


def _pool() -> ThreadPoolExecutor:
    if not _worker:
        threads = torch.get_num_threads()
        _worker.append(ThreadPoolExecutor(1, thread_name_prefix="foveal_env.ahead"))
        # Only this worker: torch's setting is each thread's own, but threads to come take the last one that was made.
        _worker[0].submit(torch.set_num_threads, 1).result()
        torch.set_num_threads(threads)
    return _worker[0]
