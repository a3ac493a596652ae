"""How kernels are compiled and shared out among threads, and what lets threads survive a fork.

Numba compiles a kernel at its first call and keeps the result on disk. Plain Python threads share the work, because
compiled code lets go of the interpreter. Numba's own pool would end a forked process.

Torch's threads do not survive a fork: a forked child that computes with more than one waits for ever for threads that
only its parent has (libgomp). So torch uses one thread in every child that is forked after this module was imported.
Forked environments (`gym.vector.AsyncVectorEnv`, Stable-Baselines3's `SubprocVecEnv`) are many: one thread each is what
they need besides. A child that is spawned, or comes from a server of forks, starts torch anew and keeps its own number.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from numba import njit

WORTH = 1e-3  # s of work that pay for one more thread: a thread of torch's may still spin on its core

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def compile_(function: Callable) -> Any:
    """Compile a kernel at its first call; the result is kept on disk, if there is a place for it."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor a home can be written to
        return njit(**options)(function)


class Threads:
    """A pool of threads: made when first needed, and made anew in a forked child, in which the old ones do not run.

    Args:
        name: prefix of the threads' names.
        count: number of threads; None is one for each core.
        prepare: function that is called with the pool, once, when the threads are first needed.
    """

    def __init__(
        self, name: str, *, count: int | None = None, prepare: Callable[[ThreadPoolExecutor], Any] | None = None
    ):
        self._name, self._count, self._prepare = name, count or os.cpu_count(), prepare
        self._pool: tuple[int, ThreadPoolExecutor] | None = None  # and the process that it belongs to

    def submit(self, call: Callable, *arguments: Any) -> Future:
        """Let a thread make a call."""
        return self._mine().submit(call, *arguments)

    def map(self, call: Callable, items: Iterable) -> Iterator:
        """Yield the results of a call for each item, in order."""
        return self._mine().map(call, items)

    def _mine(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(self._count, thread_name_prefix=self._name)
            if self._prepare:
                self._prepare(self._pool[1])
        return self._pool[1]


_helpers = Threads("foveal_env.kernels")


def share(work: Callable[[int, int], Any], count: int, *, seconds: float) -> None:
    """Call ``work(first, last)`` for parts that make up range(count), each item once.

    At most as many threads as torch uses take part. The parts are finer than one for each thread: a thread of torch's
    that still spins after its last operation holds a core for a while, and then the others do more.

    Args:
        work: function that does the items first, ..., last - 1.
        count: number of items.
        seconds: estimate of what all of them take one thread; small work is done by one.
    """
    threads = min(torch.get_num_threads(), count, int(seconds / WORTH))
    if threads < 2:
        work(0, count)
        return
    cuts = min(4 * threads, count)
    parts = iter([(count * cut // cuts, count * (cut + 1) // cuts) for cut in range(cuts)])

    def help_out() -> None:
        for first, last in parts:  # a list's iterator hands out each part once, whoever asks
            work(first, last)

    others = [_helpers.submit(help_out) for _ in range(threads - 1)]
    help_out()
    for other in others:
        if not other.cancel():
            other.result()
