"""Work for one request: a few at once, in pieces, between which it ends if its client has left."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from dispersed.explorer.memory import confine

T = TypeVar("T")
Check = Callable[[], None]
"""What long work calls before each piece; it raises `AbandonedError` where nobody waits for the rest."""
THREADS = 2
"""Requests worked on at once."""
ADMITTED = 8
"""Requests worked on or waiting; further ones are refused. One page sends up to four."""
POLL = 0.1
"""Seconds until work notices that the server stops."""


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class BusyError(Exception):
    """As many requests as are admitted are under way."""


def always() -> None:
    """The check of work that is never abandoned."""


class Workers:
    """Threads for the work of requests, apart from those that send the page."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._threads = ThreadPoolExecutor(THREADS, "explorer")
        self._admitted = threading.BoundedSemaphore(ADMITTED)

    async def run(self, work: Callable[[Check], T], left: Callable[[], Awaitable[object]]) -> T:
        """The result of `work(check)`; `BusyError` if too much is under way, `AbandonedError` once `left()` is done.

        Abandoned work frees its thread at its next check, or before it begins.
        """
        if not self._admitted.acquire(blocking=False):
            raise BusyError
        abandoned = threading.Event()

        def check() -> None:
            if abandoned.is_set() or self._stopping.is_set():
                raise AbandonedError
            confine()

        def checked() -> T:
            check()
            return work(check)

        running: Future[T] = self._threads.submit(checked)
        running.add_done_callback(lambda _: self._admitted.release())
        result = asyncio.wrap_future(running)
        leaving = asyncio.ensure_future(left())
        # What is abandoned may end in an error that nobody retrieves.
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        either: set[asyncio.Future[Any]] = {result, leaving}
        try:
            while not (result.done() or leaving.done() or self._stopping.is_set()):
                await asyncio.wait(either, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise AbandonedError
            return result.result()
        finally:
            abandoned.set()
            leaving.cancel()
