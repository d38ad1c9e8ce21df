"""`launcher=slurm`: each run of a sweep is handed to SLURM as a job of its own, and this process ends."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import hdt_fm
from hdt_fm.cli.compose import Config
from hdt_fm.cli.settings import LauncherSettings
from hdt_fm.schema.errors import ConfigError, HdtError

HERE, SLURM = "here", "slurm"
SCRIPT = "launch_slurm.sh"


def launcher_of(configs: dict[str, Config]) -> LauncherSettings:
    """What runs a sweep.

    Raises:
        ConfigError: If its runs name several.
    """
    found = [config.section("launcher", LauncherSettings) for config in configs.values()]
    if any(one != found[0] for one in found):
        raise ConfigError(
            "The runs of a sweep have one launcher", where="launcher", fix="give launcher settings one value each"
        )
    return found[0]


def refuse_launcher(config: Config) -> None:
    """A single run is not handed over.

    Raises:
        ConfigError: If the config names another launcher than this process.
    """
    name = config.value("launcher.name")
    if name != HERE:
        raise ConfigError(
            f"launcher={name} goes with --multirun",
            where="launcher",
            expected="hdt-fm pretrain --multirun and an override with several values",
            fix=f"add them, or start one job: sbatch scripts/{SCRIPT} and the overrides",
        )


def submit(verb: str, configs: dict[str, Config]) -> dict[str, str]:
    """Hand each run to SLURM; the numbers of the jobs by run.

    A job that is submitted again waits for the one before it, so that no two work in one folder.

    Raises:
        ConfigError: If the verb cannot be handed over, or there is no SLURM here.
        HdtError: If SLURM refuses; says which runs it has already.
    """
    if verb != "pretrain":
        raise ConfigError(
            f"hdt-fm {verb} cannot be handed to SLURM", where="launcher", expected="pretrain", fix="launcher=here"
        )
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "There is no SLURM on this machine",
            where="launcher=slurm",
            expected="the command sbatch on the path",
            fix="start the sweep on a login node of the cluster, or launcher=here to run it in this process",
        )
    jobs: dict[str, str] = {}
    for name, config in configs.items():
        command = command_of(name, config)
        # The place of the log must be there before the job is.
        _root(config).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HdtError(
                "SLURM has refused a run of the sweep",
                where=name,
                got=" ".join(done.stderr.split())[-300:],
                fix="mend the launcher settings and start the same sweep again"
                + (f"; submitted already: {', '.join(jobs)}" if jobs else ""),
            )
        jobs[name] = done.stdout.strip().partition(";")[0]
    return jobs


def command_of(name: str, config: Config) -> list[str]:
    """The command that submits one run: the batch script with the run's own overrides, as they were typed."""
    launcher = config.section("launcher", LauncherSettings)
    options = {
        "job-name": job_name(name, config),
        "dependency": "singleton",
        "nodes": launcher.nodes,
        "gpus-per-node": launcher.gpus_per_node,
        "cpus-per-task": launcher.cpus_per_task,
        "time": launcher.time,
        "partition": launcher.partition,
        "account": launcher.account,
        "mem": None if launcher.memory_gb is None else f"{launcher.memory_gb}G",
        "output": _root(config) / "slurm-%j.log",
    }
    given = [f"--{key}={value}" for key, value in options.items() if value is not None]
    own = [override for override in config.overrides if override.split("=")[0].split(".")[0] != "launcher"]
    return ["sbatch", "--parsable", *given, *launcher.more, str(script()), *own]


def job_name(name: str, config: Config) -> str:
    """Tells a run of one folder from every other of this user, since SLURM keeps jobs of one name apart."""
    return f"hdt-fm-{name}-{hashlib.sha256(str(_root(config)).encode()).hexdigest()[:8]}"


def script() -> Path:
    """The batch script: in a checkout, or in the wheel."""
    package = Path(hdt_fm.__file__).parent
    return next(folder / SCRIPT for folder in (package / "scripts", package.parent / "scripts") if folder.is_dir())


def _root(config: Config) -> Path:
    return Path(config.value("root")).resolve()
