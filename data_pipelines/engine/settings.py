"""Which engine, and what it may take."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from data_pipelines.engine.here import Here
from data_pipelines.engine.local import Local
from data_pipelines.engine.on_ray import OnRay, need_ray
from data_pipelines.engine.on_slurm import OnSlurm, need_submitit
from data_pipelines.engine.task import Engine, Limits
from hdt_fm.schema.preparation import Plain


class EngineSettings(Plain):
    """Nothing here changes a byte of what is built.

    Attributes:
        workers: Tasks at a time; 0 is one a core. `local` with 1 runs them in this process, which nothing bounds.
        timeout_s, memory_gb: Most that one task may take before it is ended and counted as lost; None is no bound.
            Memory is what a task itself makes, not files that it maps; Linux only.
        address: Of a Ray cluster; None starts Ray on this machine.
        cluster: `slurm`, or `local`: the same jobs as processes of this machine, to try it out.
        minutes, partition, account: Of a SLURM job; None leaves it to the cluster.
    """

    name: Literal["local", "ray", "slurm"] = "local"
    workers: int = Field(default=1, ge=0)
    timeout_s: float | None = Field(default=1800.0, gt=0)
    memory_gb: float | None = Field(default=16.0, gt=0)
    address: str | None = None
    cluster: Literal["slurm", "local"] = "slurm"
    minutes: int | None = Field(default=None, ge=1)
    partition: str | None = None
    account: str | None = None

    @property
    def at_once(self) -> int:
        """Tasks at a time."""
        return self.workers or cores()

    @property
    def leaves_machine(self) -> bool:
        """Whether tasks go through a network or a disk on their way, where a secret must not go."""
        return self.name != "local"

    def require(self) -> None:
        """Refuse before anything is written.

        Raises:
            ConfigError: If the engine's library is not installed.
        """
        if self.name == "ray":
            need_ray()
        if self.name == "slurm":
            need_submitit()

    def start(self, scratch: Path) -> Engine:
        """The engine; what it must keep on a disk that all see goes below `scratch`.

        Raises:
            ConfigError: If its library or its cluster is not there.
        """
        limits = Limits(self.timeout_s, round(self.memory_gb * 1e9) if self.memory_gb else None)
        if self.name == "ray":
            return OnRay(address=self.address, workers=self.at_once, limits=limits)
        if self.name == "slurm":
            return OnSlurm(
                scratch / "slurm", jobs=self.at_once, limits=limits, cluster=self.cluster, options=self._slurm_options()
            )
        return Here() if self.at_once == 1 else Local(self.at_once, limits)

    def _slurm_options(self) -> dict[str, object]:
        memory = {"mem_gb": self.memory_gb + 1} if self.memory_gb else {}  # and room for the process beside the task's
        asked = {
            "timeout_min": self.minutes,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_array_parallelism": self.at_once,
        }
        return memory | {key: value for key, value in asked.items() if value is not None}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
