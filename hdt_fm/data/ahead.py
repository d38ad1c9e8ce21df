"""Batches made ahead of whoever takes them, by threads, in the order of their numbers."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

Made = TypeVar("Made")
# Batches that are made or wait, for each thread or worker process.
AHEAD = 2


def in_order(make: Callable[[int], Made], numbers: Iterator[int], *, threads: int) -> Iterator[Made]:
    """`make` of each number, in turn; what it raises comes in its turn too.

    Args:
        threads: How many make batches ahead; 0 makes each when it is asked for. They begin with the first batch that
            is asked for, in the process that asks, and end with the iterator.
    """
    if threads == 0:
        yield from map(make, numbers)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="gather", initializer=_compute_alone)
    waiting: deque[Future[Made]] = deque()
    try:
        waiting.extend(pool.submit(make, number) for number in islice(numbers, threads * AHEAD))
        while waiting:
            # Not kept in a name: it would keep the memory of a batch that the taker has dropped.
            yield waiting.popleft().result()
            waiting.extend(pool.submit(make, number) for number in islice(numbers, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _compute_alone() -> None:
    """This thread copies without helpers, which are the model's; torch would start a set of its own for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # The call also sets what threads that begin later start with; from another thread it sets that alone.
    put_back = threading.Thread(target=torch.set_num_threads, args=(threads,))
    put_back.start()
    put_back.join()
