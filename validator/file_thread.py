"""One thread that reads files, for one owner.

Neither the loop nor its default executor may wait for a file: on a dead NFS server a read hangs for ever, and
everything that shares the thread hangs with it. `ThreadPoolExecutor` was rejected, because the interpreter joins its
threads at exit: one hung read would hold up the end of the process. This thread is a daemon.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Future[Any], Callable[[], Any]]


def breathe() -> None:
    """Called by long jobs after every 0.2-0.5 ms of work: lets the loop have the interpreter.

    A thread that computes gives it up only every 5 ms unless it sleeps. Measured while 60 MB of YAML were parsed: a
    timer of 2 ms fired every 7.2 ms without the sleeps and every 2.4 ms with them, and the parsing took as long.
    """
    time.sleep(1e-4)


class FileThread:
    """Runs jobs one after the other. Starts with the first job, ends when nobody refers to it any more."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = False

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have `job` run; its result or exception is the future's. A future cancelled in the queue is skipped."""
        if not self._started:
            self._started = True
            threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
            weakref.finalize(self, self._jobs.put, None)
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return future

    async def run(self, job: Callable[[], T], deadline_s: float) -> T:
        """The same for a coroutine. Raises TimeoutError after `deadline_s`, the time in the queue included."""
        async with asyncio.timeout(deadline_s):
            return await asyncio.wrap_future(self.submit(job))


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (item := jobs.get()) is not None:
        _do(*item)
        del item  # or an idle thread would hold on to the last result, which may be a whole fleet


def _do(future: Future[Any], job: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the one who asked
        future.set_exception(error)
    else:
        future.set_result(result)
