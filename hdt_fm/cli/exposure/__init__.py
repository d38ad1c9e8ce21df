"""`hdt-fm exposure WORD`: what exposures of weeks do, learned from many people, for twins to be told of.

A word is a line of `WORDS` and a file `hdt_fm/cli/exposure/<word>.py` with `run(options, arguments) -> int`, the
arguments being those after the word; it answers `--help` itself.
"""

from importlib import import_module

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import ConfigError, unknown_name

WORDS = {
    "learn": "how long each exposure is kept, from which dose on it counts and how much, with what speaks against it",
    "show": "what was learned, again",
}


def run(options: Options, arguments: list[str]) -> int:
    """Find the word and call it."""
    if not arguments:
        print(_usage())
        return EXIT_OK
    word, rest = arguments[0], arguments[1:]
    if word not in WORDS:
        raise unknown_name("word", word, WORDS, where="hdt-fm exposure WORD")
    if options.dry_run or options.show_config or options.multirun:
        raise ConfigError(
            f"`exposure {word}` composes no config",
            expected="--help, --json and key=value",
            got="--dry-run, --cfg or --multirun",
            fix=f"see `hdt-fm exposure {word} --help`",
        )
    return import_module(f"hdt_fm.cli.exposure.{word}").run(options, rest)


def _usage() -> str:
    lines = [
        "usage: hdt-fm exposure WORD ...",
        "",
        *[f"  {word:<7} {summary}" for word, summary in WORDS.items()],
        "",
        "`hdt-fm exposure WORD --help` says what a word takes. What was learned is told a person's twin by",
        "`hdt-fm twin update FOLDER PATH exposures=true law=FOLDER`.",
    ]
    return "\n".join(lines)
