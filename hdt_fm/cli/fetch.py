"""`hdt-fm fetch NAME`: a public set from its publisher to a folder, after it was shown and agreed to."""

import json
import re
import sys
from pathlib import Path

from data_pipelines.fetch import Report, fetch
from data_pipelines.fetch.kept import is_finished, verify
from data_pipelines.fetch.published import SETS
from hdt_fm.cli import progress
from hdt_fm.cli.fetch_words import described, ending, listed
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import ConfigError, unknown_name

USAGE = """usage: hdt-fm fetch [NAME] [--yes] [--to FOLDER] [--from URL_OR_FOLDER] [--sha256 DIGEST] [--verify] [--json]

  without NAME     what can be fetched
  --yes            go on without a question
  --to FOLDER      where the data are put (data/NAME)
  --from ...       a mirror, or a folder with files that were downloaded before
  --sha256 DIGEST  refuse an archive with another digest
  --verify         compare data that were fetched before with their MANIFEST.sha256

An interrupted download goes on with the same command. Proxies are taken from https_proxy and http_proxy."""
SETTINGS = ("to", "from", "sha256", "yes", "verify")
MB = 1_000_000


def run(options: Options, arguments: list[str]) -> int:
    """Show, ask, fetch; or list what there is."""
    if options.help:
        print(USAGE)
        return EXIT_OK
    names = [word for word in arguments if "=" not in word]
    settings = dict(word.split("=", 1) for word in arguments if "=" in word)
    for key, value in settings.items():
        if key not in SETTINGS:
            raise unknown_name("option", f"--{key}", [f"--{one}" for one in SETTINGS])
        if not value:
            raise ConfigError(f"--{key} needs a value", fix="see `hdt-fm fetch --help`")
    if "sha256" in settings and not re.fullmatch("[0-9a-fA-F]{64}", settings["sha256"]):
        raise ConfigError("--sha256 has no digest", expected="64 hexadecimal digits", fix="see `hdt-fm fetch --help`")
    if not names and not settings:
        print(listed(as_json=options.json))
        return EXIT_OK
    if len(names) != 1:
        raise ConfigError("`fetch` takes one name", got=" ".join(names) or "none", fix="`hdt-fm fetch` lists them")
    if names[0] not in SETS:
        raise unknown_name("set", names[0], SETS)
    return _fetch(names[0], settings, options)


def _fetch(name: str, settings: dict[str, str], options: Options) -> int:
    published, folder = SETS[name], Path(settings.get("to", f"data/{name}"))
    if "verify" in settings:
        return _verify(name, folder, options)
    if not is_finished(folder):
        out = sys.stderr if options.json else sys.stdout
        print(described(name, published, folder, settings), file=out, flush=True)
        if "yes" not in settings and not _agreed(name):
            print("nothing was fetched", file=out)
            return EXIT_OK
    done = fetch(
        name, published, folder, source=settings.get("from"), sha256=settings.get("sha256"), report=_progress(name)
    )
    print(ending(name, published, done, as_json=options.json))
    return EXIT_OK


def _agreed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(
            "`fetch` asks before it downloads, and nobody is there to answer",
            fix=f"read what is above, then `hdt-fm fetch {name} --yes`",
        )
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _verify(name: str, folder: Path, options: Options) -> int:
    if not is_finished(folder):
        raise ConfigError(
            "There is nothing to verify", where=str(folder), fix=f"`hdt-fm fetch {name}`, or say where it is with --to"
        )
    count = verify(folder, lambda done, total: None)
    print(
        json.dumps({"folder": str(folder), "files": count}) if options.json else f"{folder}: {count} files as fetched"
    )
    return EXIT_OK


def _progress(name: str) -> Report:
    """One reporter for each thing that is counted; bytes are told in MB."""
    reporters: dict[str, progress.Report] = {}

    def report(done: int, total: int, what: str) -> None:
        if what in ("unpacking", "digests"):
            print(f"fetch {name}: {what}", file=sys.stderr, flush=True)
            return
        told = reporters.setdefault(what, progress.reporter(f"fetch {name}: {what}"))
        unit = 1 if what == "files" else MB
        told(-(-done // unit), -(-total // unit), "" if what == "files" else "MB")

    return report
