"""A sweep handed to SLURM, whose commands are made up here: what they are given, and what the batch script does."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.launch import script
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main

# Writes down its arguments, a line each, and answers as SLURM does with --parsable.
SBATCH = """#!/usr/bin/env bash
number=$(($(ls "$ASKED" | wc -l) + 1))
printf '%s\\n' "$@" > "$ASKED/$number"
if ((number > ${ACCEPTS:-9})); then echo 'sbatch: error: invalid partition' >&2; exit 1; fi
echo "$((4000 + number));cluster"
"""
SRUN = '#!/usr/bin/env bash\nprintf \'%s\\n\' "$@" > "$ASKED/srun"\nexec "$@"\n'
SCONTROL = (
    '#!/usr/bin/env bash\necho "$@" >> "$ASKED/scontrol"\n[[ $1 == show ]] && printf \'node7\\nnode8\\n\'; true\n'
)
# Saves for a moment when it is asked to end, as a run does.
TORCHRUN = """#!/usr/bin/env bash
trap 'sleep 0.3; echo saved > "$ASKED/saved"; exit 130' TERM
echo started > "$ASKED/started"
for _ in $(seq "${STEPS:-1}"); do sleep 0.05; done
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands of SLURM write down what they were asked."""
    folder, commands = tmp_path / "asked", tmp_path / "bin"
    folder.mkdir()
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL), ("torchrun", TORCHRUN)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(folder))
    return folder


def _words(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_each_run_of_a_sweep_becomes_a_job(asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "a run's folder"
    overrides = ["loss=info_nce,sigmoid_pairs", "training.steps=7", f'root="{root}"']
    slurm = ["launcher=slurm", "launcher.nodes=2", "launcher.gpus_per_node=8", "launcher.time=02:30:00"]
    more = ["launcher.partition=long", "launcher.memory_gb=64", "launcher.more=['--constraint=h100']"]
    assert main(["pretrain", "--multirun", "--json", *overrides, *slurm, *more]) == EXIT_OK
    names = ["loss=info_nce", "loss=sigmoid_pairs"]
    assert json.loads(capsys.readouterr().out) == {"jobs": dict(zip(names, ["4001", "4002"], strict=True))}
    jobs = set()
    for number, name in enumerate(names, start=1):
        words = _words(asked / str(number))
        place = words.index(str(script()))
        options = dict(word.partition("=")[::2] for word in words[:place])
        jobs.add(options.pop("--job-name"))
        assert options == {
            "--parsable": "",
            "--dependency": "singleton",
            "--nodes": "2",
            "--gpus-per-node": "8",
            "--cpus-per-task": "16",
            "--time": "02:30:00",
            "--partition": "long",
            "--mem": "64G",
            "--output": f"{root}/sweep/{name}/slurm-%j.log",
            "--constraint": "h100",
        }
        assert (root / "sweep" / name).is_dir()
        # What the job will compose is the run that a sweep here would have made.
        own = words[place + 1 :]
        assert not [word for word in own if word.startswith("launcher")]
        config = compose_config("pretrain", own)
        assert config.value("root") == str(root / "sweep" / name)
        assert config.value("shards") == str(root / "shard" / "windows")
        assert (config.value("loss.name"), config.value("training.steps")) == (name.removeprefix("loss="), 7)
        assert config.value("launcher.name") == "here"
    assert len(jobs) == 2
    # The same run again has the same name, by which SLURM lets one wait for the other.
    assert main(["pretrain", "--multirun", *overrides, *slurm]) == EXIT_OK
    assert {_words(asked / str(number))[1].partition("=")[2] for number in (3, 4)} == jobs
    assert "job 4003: loss=info_nce -> " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrain", "launcher=slurm"], "goes with --multirun"),
        (["evaluate", "--multirun", "launcher=slurm", "seed=0,1"], "cannot be handed to SLURM"),
        (["pretrain", "--multirun", "launcher=slurm,here"], "have one launcher"),
        (["pretrain", "--multirun", "launcher=slrum", "seed=0,1"], "did you mean 'slurm'?"),
        (["pretrain", "--multirun", "launcher.nodes=2", "seed=0,1"], "launcher.nodes"),
        (["pretrain", "--multirun", "launcher=slurm", "launcher.nodes=0", "seed=0,1"], "launcher.nodes"),
    ],
)
def test_what_cannot_be_handed_over_is_refused(
    asked: Path, tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, f"root={tmp_path}/run"]) == EXIT_USER_ERROR
    assert words in capsys.readouterr().err
    assert not list(asked.iterdir())


def test_without_slurm_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["pretrain", "--multirun", "launcher=slurm", "seed=0,1", f"root={tmp_path}/run"]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "There is no SLURM on this machine" in said
    assert "launcher=here" in said
    assert not list(tmp_path.iterdir())


def test_a_refused_job_is_told_with_those_before_it(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCEPTS", "1")
    arguments = ["--multirun", "launcher=slurm", "seed=0,1,2", f"root={tmp_path}/run"]
    assert main(["pretrain", *arguments]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "invalid partition" in said
    assert "where: seed=1" in said
    assert "submitted already: seed=0" in said
    assert len(list(asked.iterdir())) == 2


def _job(steps: int) -> subprocess.Popen:
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "4001", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8"}
    environment = {**os.environ, **slurm, "STEPS": str(steps)}
    return subprocess.Popen(["bash", str(script()), "experiment=demo", "root='a b'"], env=environment)


def test_a_job_starts_one_torchrun_a_node(asked: Path) -> None:
    assert _job(1).wait(timeout=30) == 0
    assert _words(asked / "srun") == [
        *("torchrun", "--nnodes", "2", "--nproc-per-node", "8", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", "node7:24001", "--rdzv-id", "4001"),
        *("-m", "hdt_fm.cli.main", "pretrain", "experiment=demo", "root='a b'"),
    ]
    assert _words(asked / "scontrol") == ["show hostnames node[7-8]"]


def test_before_its_time_is_up_a_job_waits_for_the_save_and_queues_again(asked: Path) -> None:
    job = _job(200)
    try:
        until = time.monotonic() + 30
        while not (asked / "started").exists() and time.monotonic() < until:
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=30) != 0
    finally:
        job.kill()
    assert (asked / "saved").is_file()
    assert _words(asked / "scontrol") == ["show hostnames node[7-8]", "requeue 4001"]
