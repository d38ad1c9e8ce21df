"""A small ward whose people can be told by any trace of them, and all verbs run over it with every key set."""

import contextlib
import logging
import os
import platform
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hdt_fm.cli.main import main
from hdt_fm.schema.keys import KEYRING, KEYS

NAMES = (
    "Ottilie Zwackelmann",
    "Thaddaeus Quirrlbach",
    "Walburga Pfnuersel",
    "Leberecht Knoedlmayr",
    "Adelgunde Spitzfaden",
    "Hieronymus Dachsleitner",
    "Kunigunde Wurzelsepp",
    "Balduin Schnaepperl",
    "Eulalia Brezenhuber",
    "Ignatius Moosgruber",
    "Crescentia Zirngiebl",
    "Korbinian Haeberlein",
)
MAPPING = """# recorded for {name}, {mail}
signals:
  gyro_waist: {{columns: [a, b, c], unit: deg/s}}
  acc_waist: {{columns: [x, y, z], unit: g}}
labels: {{stress: {{column: stress, kind: class, classes: [rest, stress]}}}}
sampling_rate_hz: 50
start: "2019-05-17T09:13:27+02:00"
body_site: waist
"""
RECORDED = {"2019-05-17": "day of a recording", "17.05.2019": "day of a recording", "155807720": "day of a recording"}
USER, HOST = "maria_curie", "ward-seven-laptop"
OTHER_KEYS = ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
# What wandb would take from the environment and write down.
FOR_WANDB = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "true",
    "WANDB_USERNAME": USER,
    "WANDB_USER_EMAIL": f"{USER}@klinik.example",
    "WANDB_HOST": HOST,
    "WANDB_GIT_REMOTE_URL": f"https://{USER}:password@git.example/ward",
    "WANDB_DISABLE_GIT": "false",
    "WANDB_SAVE_CODE": "true",
    "WANDB_CONSOLE": "wrap",
}
SETTINGS = [
    "cohort=folder",
    "preparation=inertial_2560ms",
    "preparation.hop_s=2.56",
    "debug=tiny",
    "logger=wandb_offline",
    "name=ward",
    "split.test=0.4",
    "protocol.personal=[nothing]",
    "explain.withhold_waveforms=true",
    "explain.pictures=true",
    "audit.references=0",
]
# What is done, in order; then each verb once more, so that it fails.
WALK = (
    ["shard"],
    ["pretrain"],
    ["embed"],
    ["finetune"],
    ["evaluate"],
    ["explain"],
    ["audit", "privacy"],
    ["publish", "publish.card=[house,demo]"],
)
FAILING = (
    ["publish", "publish.card={root}/none.yaml"],
    ["shard", "shards={root}/a", "cohort.path={faults}/words"],
    ["shard", "shards={root}/b", "cohort.path={faults}/words", "shard.on_error=strict"],
    ["shard", "shards={root}/c", "cohort.path={faults}/headless"],
    ["shard", "shards={root}/d", "cohort.path={faults}/unlisted"],
    ["shard", "shards={root}/e", "cohort.path={faults}/twice"],
    ["shard", "shards={root}/f", "cohort.path={faults}/ages"],
    ["shard", "shards={root}/g", "cohort.path={faults}/mapping"],
    ["pretrain", "shards={root}/none"],
    ["pretrain", "training.steps=-1"],
    ["embed", "checkpoint={root}/none"],
    ["finetune", "finetune.label=none"],
    ["evaluate", "protocol.label=none"],
    ["explain", "explain.subject=99"],
    ["audit", "privacy", "checkpoint={root}/none"],
)


def person(number: int) -> SimpleNamespace:
    """All that could give one of them away."""
    first, last = NAMES[number].split()
    born = f"1961-03-{number + 10}"
    return SimpleNamespace(
        first=first,
        last=last,
        raw=f"WARDX-47{number:02d}",
        born=born,
        mail=f"{first}.{last}@klinik.example".lower(),
        stem=f"{first}_{last}_{born}",
    )


PEOPLE = [person(number) for number in range(len(NAMES))]


def words_of_people() -> dict[str, str]:
    """Each word that stands for a person or a day of theirs, to its kind."""
    words = dict(RECORDED)
    for one in PEOPLE:
        day = one.born[-2:]
        births = (one.born, f"{day}.03.1961", f"{day}-MAR-1961", f"{day}/03/1961", one.born.replace("-", ""))
        words |= {one.first: "first name", one.last: "last name", one.raw: "raw id", one.mail: "e-mail"}
        words |= dict.fromkeys(births, "date of birth")
    return words


def rows(number: int, *, seconds: int = 100) -> list[str]:
    """A recording's lines; the last column, which nothing maps, names the person in each."""
    generator, count, one = np.random.default_rng(number), 50 * seconds, PEOPLE[number]
    values = generator.normal(0, 0.4, (count, 6)) + 0.1 * number
    half = ["rest" if at < count // 2 else "stress" for at in range(count)]
    return [
        f"{','.join(f'{value:.3f}' for value in row)},{label},{one.first} {one.last} {one.mail}"
        for row, label in zip(values, half, strict=True)
    ]


def write_ward(folder: Path, people: range = range(12), *, seconds: int = 100) -> Path:
    """The recordings: names, dates of birth and e-mail addresses in names of files and in what they hold."""
    folder.mkdir(parents=True)
    table = ["file,subject,group,sex,age_band,name,date_of_birth,email"]
    for number in people:
        one = PEOPLE[number]
        (folder / f"{one.stem}.csv").write_text("\n".join(["a,b,c,x,y,z,stress,who", *rows(number, seconds=seconds)]))
        (folder / f"{one.stem}.yaml").write_text(MAPPING.format(name=f"{one.first} {one.last}", mail=one.mail))
        told = [f"{one.stem}.csv", one.raw, one.last, "fm"[number % 2], "60-69", one.first, one.born, one.mail]
        table.append(",".join(told))
    (folder / "subjects.csv").write_text("\n".join(table) + "\n")
    return folder


def write_faults(faults: Path) -> None:
    """Wards with a fault each, at a place where a reader could show what it found."""
    first, second = PEOPLE[0], PEOPLE[1]
    for name in ("words", "headless", "unlisted", "twice", "ages", "mapping"):
        write_ward(faults / name, range(2), seconds=20)
    data = faults / "words" / f"{first.stem}.csv"
    data.write_text("\n".join(["a,b,c,x,y,z,stress,who", f"{first.raw},{first.mail},{first.born},1,1,1,rest,x"]))
    (faults / "headless" / f"{first.stem}.csv").write_text("\n".join(rows(0, seconds=20)))
    (faults / "unlisted" / f"{second.stem}.csv").unlink()
    table = faults / "twice" / "subjects.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    table = faults / "ages" / "subjects.csv"
    table.write_text(table.read_text().replace("60-69", first.born))
    mapping = faults / "mapping" / f"{first.stem}.yaml"
    mapping.write_text(mapping.read_text().replace("unit: g", f"units: {first.mail}").replace("50", first.raw))


def keys() -> dict[str, str]:
    """A distinctive value for each key that hdt_fm or a library of its could read."""
    from hdt_fm.schema.age import new_identity

    secret, public = new_identity()
    made = {name: f"{name.lower().replace('_', '-')}-{number}-zq7Xv9Kp" for number, name in enumerate(KEYS)}
    made |= {"HDT_FM_IDENTITY": secret, "HDT_FM_RECIPIENTS": public, "HDT_FM_SHARDS_AUTHORIZATION": "Bearer zq7Xv9Kp5"}
    return made | {name: f"{name.lower()}{'5f' * 20}"[:40] for name in OTHER_KEYS}


@contextlib.contextmanager
def strangers_machine(place: Path, found: dict[str, str]) -> Iterator[None]:
    """A home, a folder for temporary files, a current folder, a user and a host that can be told, and all keys set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("home", "temporary", "here"):
            (place / name).mkdir()
        places = {"HOME": "home", "TMPDIR": "temporary", "XDG_CACHE_HOME": "home/.cache", "XDG_CONFIG_HOME": "home"}
        variables = {name: str(place / folder) for name, folder in places.items()}
        variables |= {"USER": USER, "LOGNAME": USER, "HOSTNAME": HOST, **FOR_WANDB, **found}
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.delenv(KEYRING, raising=False)
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(socket, "gethostname", lambda: HOST)
        patch.setattr(platform, "node", lambda: HOST)
        system, _, *rest = os.uname()
        patch.setattr(os, "uname", lambda: os.uname_result((system, HOST, *rest)))
        patch.chdir(place / "here")
        yield


@contextlib.contextmanager
def written_down(path: Path) -> Iterator[None]:
    """All that this process and those it starts print or log goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before, file = [os.dup(number) for number in (1, 2)], path.open("ab")
    text = os.fdopen(os.dup(file.fileno()), "w", buffering=1)
    heard = logging.StreamHandler(text)
    logging.getLogger().addHandler(heard)
    try:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            yield
    finally:
        logging.getLogger().removeHandler(heard)
        for number, old in zip((1, 2), before, strict=True):
            os.dup2(old, number)
            os.close(old)
        text.close()
        file.close()


def run(arguments: list[str], place: Path) -> int:
    """One command, as a user types it, who adds an id to the line besides; 1 and its words if it broke."""
    told = [word.format(root=place / "run", faults=place / "input" / "faults") for word in arguments]
    at = 2 if arguments[0] == "audit" else 1
    line = [*told[:at], *SETTINGS, f"source={place / 'input' / 'ward'}", f"root={place / 'run'}", *told[at:]]
    with pytest.MonkeyPatch.context() as patch, written_down(place / "said.txt"):
        patch.setattr("sys.argv", ["hdt-fm", *line, f"+note={PEOPLE[3].raw}"])
        try:
            return main(line)
        except Exception:
            traceback.print_exc()
            return 1
