"""Verbs of several words, such as `hdt-fm twin WORD`: a word is a line of the verb's `WORDS` and a file of its room."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import ConfigError, unknown_name


def run_word(verb: str, words: Mapping[str, str], options: Options, arguments: list[str], *, after: str = "") -> int:
    """Find the word and call `hdt_fm.cli.<verb>.<word>.run(options, rest)`; a dash is an underscore there.

    Args:
        words: Each with its summary.
        after: What the list of words ends with.

    Raises:
        UnknownNameError: If there is no such word.
        ConfigError: If an option is one of verbs that compose a config.
    """
    if not arguments:
        width = max(map(len, words)) + 1
        listed = [f"  {word:<{width}} {summary}" for word, summary in words.items()]
        said = f"`hdt-fm {verb} WORD --help` says what a word takes.{after}"
        print("\n".join([f"usage: hdt-fm {verb} WORD ...", "", *listed, "", said]))
        return EXIT_OK
    word, rest = arguments[0], arguments[1:]
    if word not in words:
        raise unknown_name("word", word, words, where=f"hdt-fm {verb} WORD")
    if options.dry_run or options.show_config or options.multirun:
        raise ConfigError(
            f"`{verb} {word}` composes no config",
            expected="--help, --json and key=value",
            got="--dry-run, --cfg or --multirun",
            fix=f"see `hdt-fm {verb} {word} --help`",
        )
    return import_module(f"hdt_fm.cli.{verb}.{word.replace('-', '_')}").run(options, rest)


def paths_and_settings(
    command: str, rest: Sequence[str], *, known: Sequence[str], needed: Sequence[str] = (), paths: int = 1, usage: str
) -> tuple[list[Path], dict[str, str]]:
    """What stands after a word of a verb that composes configs too, such as `shard revoke FOLDER --subjects FILE`.

    Args:
        command: Verb and word.
        known: Settings that it takes; those of `needed` must be there.
        usage: Its first line is shown where the words do not fit.

    Raises:
        UnknownNameError: If there is no such setting.
        ConfigError: If paths or settings are too many or too few, or a setting is empty.
    """
    found = [one for one in rest if "=" not in one]
    settings = dict(one.split("=", 1) for one in rest if "=" in one)
    for key in settings:
        if key not in known:
            raise unknown_name("setting", key, known, where=command)
    if len(found) != paths or set(needed) - settings.keys() or not all(settings.values()):
        raise ConfigError(f"`{command}` is not called like this", expected=usage.splitlines()[0])
    return [Path(one) for one in found], settings
