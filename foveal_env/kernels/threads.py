"""Threads of a process: made when first needed, and forgotten by a forked child, in which they do not run."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Threads:
    """A pool of threads that outlives what uses it.

    Args:
        name: of its threads.
        count: how many; None is one for each core.
        prepare: called once, when the threads are first needed.
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
