"""Calls of compiled functions from several threads: one at a time."""

import contextlib
import threading


class _Turn(threading.local):
    """What a call holds from the moment it reads States until it has written them, for each thread.

    Functions share States, and while one is traced its States hold tracers: so there is one lock for
    all. A call within a call of the same thread passes. So does one in a thread that Python did not
    start, as those of XLA: a callback runs in one of them while a call waits for it.
    """

    _one_at_a_time = threading.RLock()

    def __init__(self) -> None:
        foreign = threading.current_thread().name.startswith("Dummy-")
        self.lock = contextlib.nullcontext() if foreign else self._one_at_a_time


turn = _Turn()
