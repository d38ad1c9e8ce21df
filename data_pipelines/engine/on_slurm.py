"""SLURM, through submitit: the tasks dealt out to the jobs of an array."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.engine.local import bounded
from data_pipelines.engine.task import TRIES, Done, Limits, Task
from hdt_fm.schema.errors import ConfigError

POLL_S = 0.2
# Of SLURM: asking it more often than this helps nobody.
POLL_SLURM_S = 10.0


class OnSlurm:
    """One array for what was submitted since the last one; its jobs take equal shares.

    A job that ends without an answer is sent again with all its tasks: those that it had done are found done. The
    folder, the recordings and the shard folder MUST be where all nodes see them.

    Args:
        folder: For what submitit keeps: pickles of the tasks and their rows, and what the jobs print.
        jobs: Of an array, at most.
        cluster: `slurm`, or `local` for processes of this machine.
        options: Further ones of `submitit.AutoExecutor.update_parameters`, such as `slurm_partition`.

    Raises:
        ConfigError: If submitit is not installed, or there is no SLURM here.
    """

    apart = True

    def __init__(self, folder: Path, *, jobs: int, limits: Limits, cluster: str, options: dict[str, Any]) -> None:
        submitit = need_submitit()
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        except RuntimeError as error:
            raise ConfigError(
                "There is no SLURM on this machine",
                where="engine=slurm",
                expected="the command srun on the path",
                fix="start on a login node of the cluster, or engine=local",
            ) from error
        self._executor.update_parameters(name="hdt-fm-shard", cpus_per_task=1, **options)
        self._jobs, self._limits = jobs, limits
        self._pause_s = POLL_SLURM_S if cluster == "slurm" else POLL_S
        self._waiting: list[Task] = []
        self._sent: dict[Any, tuple[Task, ...]] = {}
        self._tries: dict[str, int] = {}

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def as_completed(self) -> Iterator[Done]:
        while self._waiting or self._sent:
            self._send()
            over = [job for job in self._sent if job.done()]
            for job in over:
                yield from self._collect(job, self._sent.pop(job))
            if not over:
                time.sleep(self._pause_s)

    def cancel(self) -> None:
        for job in self._sent:
            job.cancel()
        self._waiting.clear()
        self._sent.clear()

    def _send(self) -> None:
        if not self._waiting:
            return
        shares = [tuple(self._waiting[first :: self._jobs]) for first in range(min(self._jobs, len(self._waiting)))]
        with self._executor.batch():
            jobs = [self._executor.submit(run_share, share, self._limits) for share in shares]
        self._sent.update(zip(jobs, shares, strict=True))
        self._waiting.clear()

    def _collect(self, job: Any, share: tuple[Task, ...]) -> Iterator[Done]:
        try:
            yield from job.result()
        except Exception:  # submitit has many; whatever it is, the answer is not there
            for task in share:
                tries = self._tries[task.name] = self._tries.get(task.name, 0) + 1
                if tries < TRIES:
                    self._waiting.append(task)
                else:
                    yield Done(task.name, lost="ended", tries=tries)


def run_share(share: Sequence[Task], limits: Limits) -> list[Done]:
    """What a job does."""
    return [bounded(task, limits) for task in share]


def need_submitit() -> Any:
    """The library."""
    try:
        import submitit
    except ImportError:
        raise ConfigError(
            "submitit is not installed",
            where="engine=slurm",
            expected="the extra slurm",
            fix="pip install 'hdt-fm[slurm]'",
        ) from None
    return submitit
