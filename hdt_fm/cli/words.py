"""Verbs of several words, such as `hdt-fm twin WORD`: a word is a line of the verb's `WORDS` and a file of its room."""

from collections.abc import Mapping
from importlib import import_module

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
