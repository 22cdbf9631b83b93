"""How many processors this process may use, and blocking calls off the event loop in as many threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def available_cores() -> int:
    # In a container or under taskset, cpu_count names cores that this process may not use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def in_thread(
    function: Callable[Arguments, Answer], *args: Arguments.args, **options: Arguments.kwargs
) -> Answer:
    """A blocking call off the event loop, in one of as many threads as there are processors.

    The loop's own pool has more, and each of them wants the interpreter: eight searches side by side then held the loop
    for 30 to 100 ms on two cores, with two threads for 12 to 30, in the same time altogether.
    """
    call = functools.partial(contextvars.copy_context().run, functools.partial(function, *args, **options))
    return await asyncio.get_running_loop().run_in_executor(_threads(), call)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="tercet")
