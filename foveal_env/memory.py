"""Keeps freed memory in the process, so that tensors made anew at every step do not come as fresh pages each time."""

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # parameters of glibc's mallopt, from malloc.h
MEBIBYTE = 2**20


def keep_freed_memory() -> bool:
    """Ask glibc not to return freed memory to the system; return whether it could be asked.

    By default glibc maps every tensor of more than some hundred kB anew and unmaps it when it is freed, and the system
    fills each with zeros, page by page. Without that an update of GRPO on two CPU cores took 156 ms in place of
    196 ms (`benchmarks/README.md`). The price: up to 1 GB of freed memory stays with the process. It concerns the whole
    process, so that it is for programs to call, not for a library at import. On other systems nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    settings = {MMAP_THRESHOLD: 32 * MEBIBYTE, TRIM_THRESHOLD: 1024 * MEBIBYTE, TOP_PAD: 64 * MEBIBYTE}
    return all(mallopt(parameter, value) for parameter, value in settings.items())
