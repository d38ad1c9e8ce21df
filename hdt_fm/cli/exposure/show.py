"""`hdt-fm exposure show FOLDER`: what was learned, again."""

from hdt_fm.cli.exposure.words import path_and_settings
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import say

USAGE = """\
usage: hdt-fm exposure show FOLDER [--json]

  What `hdt-fm exposure learn` found: the verdict, numbers with their 95 % intervals, what was explained in people who
  taught nothing. evidence.json in the folder has every row.

  --json    one JSON object, and nothing else

example:
  hdt-fm exposure show air_law
"""


def run(options: Options, arguments: list[str]) -> int:
    """Read, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    folder, _ = path_and_settings("show", arguments, ())
    from hdt_fm.cli.exposure.law import read_law
    from hdt_fm.cli.exposure.told import lines

    say(read_law(folder).facts, folder, lines, {}, as_json=options.json)
    return EXIT_OK
