"""A function called for many inputs, in processes of its own: one that crashes or hangs costs one input."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

CRASHED, HUNG = "crashed", "hung"


def answers(function: Callable[[Any], str], items: Iterable[Any], *, seconds: float) -> Iterator[str]:
    """Yield what a function answers for each item; "crashed" or "hung" if its process dies, or takes too long.

    Args:
        function: function of a module, from an item to a word.
        items: items that can be pickled.
        seconds: time for each item.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([function.__module__])
    process = pipe = None
    for item in items:
        if process is None or pipe is None:
            pipe, end = processes.Pipe()
            process = processes.Process(target=_work, args=(function, end), daemon=True)
            process.start()
            end.close()
            pipe.recv()  # it has started
        pipe.send(item)
        answer = _answer(pipe, seconds)
        yield answer
        if answer in (CRASHED, HUNG):
            process.kill()
            process.join()
            process = None
    if process and pipe:
        pipe.close()
        process.join()


def _work(function: Callable[[Any], str], pipe: Connection) -> None:
    pipe.send("started")
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))


def _answer(pipe: Connection, seconds: float) -> str:
    try:
        return pipe.recv() if pipe.poll(seconds) else HUNG
    except (EOFError, ConnectionResetError):
        return CRASHED


def count(words: Iterable[str]) -> dict[str, int]:
    """Return how often each word comes, the most frequent first."""
    return dict(Counter(words).most_common())
