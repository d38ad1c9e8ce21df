"""Ray's core tasks, on this machine or a cluster. Nothing but paths, numbers and pseudonyms enters its object store."""

from collections.abc import Iterator
from typing import Any

from data_pipelines.engine.local import bounded
from data_pipelines.engine.task import TRIES, Done, Limits, Task
from hdt_fm.schema.errors import ConfigError


class OnRay:
    """A Ray task for each of ours, which Ray begins again elsewhere when a process or a node is lost.

    Each runs in a process beside Ray's own, so that its limits are kept as in a pool. All nodes MUST see the recordings
    and the shard folder under the same paths, and have this version of hdt_fm.

    Args:
        address: Of the cluster, as `ray.init` takes it; None starts Ray on this machine with `workers` slots.
        ends: Whether `cancel` leaves the cluster; it does if this is what entered it.

    Raises:
        ConfigError: If Ray is not installed or the cluster cannot be reached.
    """

    apart = True

    def __init__(self, *, address: str | None, workers: int, limits: Limits) -> None:
        self._ray = ray = need_ray()
        self._entered = not ray.is_initialized()
        if self._entered:
            _enter(ray, address, workers)
        self._limits = limits
        self._run = ray.remote(num_cpus=1, max_retries=TRIES)(bounded)
        self._waiting: dict[Any, Task] = {}

    def submit(self, task: Task) -> None:
        self._waiting[self._run.remote(task, self._limits)] = task

    def as_completed(self) -> Iterator[Done]:
        while self._waiting:
            ready, _ = self._ray.wait(list(self._waiting), num_returns=1)
            task = self._waiting.pop(ready[0])
            try:
                yield self._ray.get(ready[0])
            except (self._ray.exceptions.RayTaskError, self._ray.exceptions.RayError) as error:
                if isinstance(error, self._ray.exceptions.RayTaskError):
                    raise
                yield Done(task.name, lost="ended", tries=1 + TRIES)

    def cancel(self) -> None:
        for reference in self._waiting:
            self._ray.cancel(reference, force=True)
        self._waiting.clear()
        if self._entered and self._ray.is_initialized():
            self._ray.shutdown()


def _enter(ray: Any, address: str | None, workers: int) -> None:
    slots = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, **slots)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            "The Ray cluster cannot be reached",
            where="engine.address",
            got=type(error).__name__,
            fix="start it (`ray start --head`), or engine.address=null for Ray on this machine alone",
        ) from error


def need_ray() -> Any:
    """The library."""
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "Ray is not installed", where="engine=ray", expected="the extra ray", fix="pip install 'hdt-fm[ray]'"
        ) from None
    return ray
