"""`hdt-fm VERB [options] [overrides]`: finds the verb and calls it. Imports nothing heavy before a verb runs."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import hdt_fm
from hdt_fm.schema.errors import HdtError, unknown_name

EXIT_OK, EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_PIPE = 0, 2, 130, 141
# Verbs that --multirun goes with.
SWEPT = ("pretrain", "evaluate")
# Options that are settings in other words (`--to FOLDER` is `to=FOLDER`); a verb without that setting refuses them.
VALUED = ("--to", "--from", "--sha256", "--subjects")
FLAGS = ("--yes", "--verify")


@dataclass(frozen=True)
class Verb:
    """One word of the command line. `configured` verbs take Hydra overrides and leave a run folder.

    `words` may follow the verb and do something else, without a config: module
    `hdt_fm.cli.<verb>_words`, or `words` of a verb that is a room.
    """

    name: str
    summary: str
    configured: bool = True
    example: str = ""
    words: tuple[str, ...] = ()


VERBS = {
    verb.name: verb
    for verb in (
        Verb("doctor", "check this machine: versions, cores, memory, GPU, keys", False),
        Verb(
            "list", "names known to configs: cohorts, encoders, heads, experiments, ...", False, "hdt-fm list encoders"
        ),
        Verb("fetch", "a public set from its publisher, after you agreed to its terms", False, "hdt-fm fetch wesad"),
        Verb("inspect", "what a recording or folder holds: format, rates, units, gaps", False, "hdt-fm inspect PATH"),
        Verb(
            "shard",
            "recordings -> windows in webdataset shards; verify, index, revoke, compact, seal FOLDER",
            True,
            "hdt-fm shard experiment=stress_predict",
            ("verify", "index", "revoke", "compact", "seal", "unseal"),
        ),
        Verb("pretrain", "shards -> encoder, by cross-modal contrast", True, "hdt-fm pretrain experiment=demo"),
        Verb("embed", "shards + encoder -> cached embeddings", True, "hdt-fm embed experiment=demo"),
        Verb(
            "evaluate",
            "frozen encoder by subject-disjoint folds, baselines beside",
            True,
            "hdt-fm evaluate experiment=demo",
        ),
        Verb("finetune", "train a head on cached embeddings", True, "hdt-fm finetune experiment=demo head=forecast"),
        Verb(
            "update",
            "a head learns one more cohort, and shows what it forgot; take, withdraw FOLDER",
            True,
            "hdt-fm update experiment=t1d_uom update.line=runs/glucose_line",
            ("take", "withdraw"),
        ),
        Verb("explain", "attribution report that leads with its reliability", True, "hdt-fm explain experiment=demo"),
        Verb(
            "audit",
            "what a model tells of people (membership, re-identification), and for whom it is worse; privacy, fairness",
            True,
            "hdt-fm audit privacy experiment=demo",
            ("privacy", "fairness"),
        ),
        Verb(
            "publish",
            "checkpoint folder with card, checked, ready to hand out; card, check, verify, sign, seal, open",
            True,
            "hdt-fm publish experiment=demo",
            ("card", "check", "verify", "sign", "seal", "open"),
        ),
        Verb(
            "twin",
            "one person over time, in a folder that stays in step: forecast, what-if, alerts on nights, versions",
            False,
            "hdt-fm twin alert nights.csv",
        ),
        Verb(
            "exposure",
            "what exposures of weeks do, learned from a table of people; learn TABLE, show FOLDER",
            False,
            "hdt-fm exposure learn people.csv outcome=rmssd --to air_law",
        ),
        Verb(
            "consent",
            "a register of who agreed to what, who left and what they touched: give, withdraw, status, ...",
            False,
            "hdt-fm consent status consent_register root=runs",
        ),
        Verb(
            "import",
            "a foreign or older file of weights -> checkpoint folder, read apart and recorded",
            False,
            "hdt-fm import theirs.pth --to model model=hdt-fm-wrist-s rename=names.yaml fresh=heads",
        ),
        Verb("demo", "the whole path on a simulated cohort", True, "hdt-fm demo"),
    )
}

OPTIONS = """Options (before or after the overrides):
  --help           this text, or the settings of a verb
  --cfg job        print the composed config and stop
  --dry-run        compose, check the data, build everything, run one batch, estimate time and memory
  --json           print the run's result.json at the end, and nothing else on standard output
  --multirun       pretrain, evaluate: a run for each combination of overrides with several values (loss=a,b seed=0,1),
                   one after another, each in its own folder under ROOT/sweep; launcher=slurm: pretrain, each a job
  --version        print the version
  --to PLACE       publish: hub; fetch, twin, import: a folder (`hdt-fm fetch --help` has its other options)

Overrides are Hydra's: key=value, group=name (e.g. experiment=stress_predict encoder=resnet training.steps=500).
"""


@dataclass(frozen=True)
class Options:
    """Flags of the command line, apart from the overrides."""

    help: bool = False
    show_config: bool = False
    dry_run: bool = False
    json: bool = False
    multirun: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 2 wrong input, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except HdtError as error:
        _print_error(error, as_json="--json" in arguments)
        return EXIT_USER_ERROR
    except BrokenPipeError:
        # Whoever read our words (`| head`) has gone; Python would complain again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return EXIT_OK
    if arguments[0] == "--version":
        print(hdt_fm.__version__)
        return EXIT_OK
    name, rest = arguments[0], arguments[1:]
    if name not in VERBS:
        raise unknown_name("verb", name, VERBS, where="hdt-fm VERB")
    options, overrides = _split(rest)
    verb = VERBS[name]
    if not verb.configured:
        return import_module(f"hdt_fm.cli.{name}").run(options, overrides)
    if overrides and overrides[0] in verb.words:
        return import_module(_words_of(name)).run(options, overrides)
    if options.help:
        print(import_module("hdt_fm.cli.verb_help").verb_help(name))
        return EXIT_OK
    return import_module("hdt_fm.cli.run").run_verb(name, options, overrides)


def _words_of(verb: str) -> str:
    found = find_spec(f"hdt_fm.cli.{verb}")
    room = found is not None and found.submodule_search_locations
    return f"hdt_fm.cli.{verb}.words" if room else f"hdt_fm.cli.{verb}_words"


def _split(arguments: list[str]) -> tuple[Options, list[str]]:
    flags: dict[str, bool] = {}
    overrides: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in ("-h", "--help"):
            flags["help"] = True
        elif word == "--dry-run":
            flags["dry_run"] = True
        elif word == "--json":
            flags["json"] = True
        elif word in ("-m", "--multirun"):
            flags["multirun"] = True
        elif word in ("--cfg", "-c", "--cfg=job"):
            what = "job" if word == "--cfg=job" else next(words, None)
            if what != "job":
                raise unknown_name("value of --cfg", str(what), ["job"])
            flags["show_config"] = True
        elif word.partition("=")[0] in VALUED:
            name, given, value = word.partition("=")
            overrides.append(f"{name[2:]}={value if given else next(words, '')}")
        elif word in FLAGS:
            overrides.append(f"{word[2:]}=true")
        elif word.startswith("-"):
            known = ["--help", "--cfg", "--dry-run", "--json", "--multirun", *VALUED, *FLAGS]
            raise unknown_name("option", word, known)
        else:
            overrides.append(word)
    return Options(**flags), overrides


def _help() -> str:
    lines = [
        "hdt-fm: foundation models of the human body from wearables",
        "",
        "usage: hdt-fm VERB [options] [overrides]",
        "",
        "Verbs:",
        *[f"  {verb.name:<9} {verb.summary}" for verb in VERBS.values()],
        "",
        OPTIONS,
        "Start with `hdt-fm demo`; `hdt-fm VERB --help` shows a verb's settings.",
    ]
    return "\n".join(lines)


def _print_error(error: HdtError, *, as_json: bool) -> None:
    if as_json:
        keys = ("problem", "expected", "got", "where", "fix")
        print(json.dumps({"error": type(error).__name__, **{key: getattr(error, key) for key in keys}}))
    print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
