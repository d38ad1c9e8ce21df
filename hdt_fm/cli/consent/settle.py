"""`hdt-fm consent settle REGISTER published=DIGEST told=WORDS`: who was told of copies that left."""

from hdt_fm.cli.consent.words import asked, say
from hdt_fm.cli.main import EXIT_OK, Options

USAGE = """\
usage: hdt-fm consent settle REGISTER published=DIGEST told="WHO WAS TOLD" [--json]

  Copies of a publication that left the lab cannot be called back. This writes down who was told that somebody withdrew,
  in words and without a name or an address: "those who downloaded it, by a notice on its page", "nobody: it never
  left". DIGEST is the one that `hdt-fm consent withdraw` and `status` print. It settles the copies alone; the folder
  itself is mended when it is gone or made anew, which is looked up on disk and never typed.

example:
  hdt-fm consent settle consent_register published=DIGEST told="hub users, by a notice on the page"
"""


def run(options: Options, arguments: list[str]) -> int:
    """Compare with what was traced, write down, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    from hdt_fm.consent.entry import Said
    from hdt_fm.consent.register import Register
    from hdt_fm.schema.errors import ConfigError

    wanted = asked("settle", arguments, ("published", "told"))
    digest, words = wanted.needed("published", "published=DIGEST"), wanted.needed("told", 'told="WHO WAS TOLD"')
    said = Said(kind="settled", published=(digest,), told=words)
    register = Register(wanted.register)
    if digest not in {one for entry in register.entries if entry.kind == "traced" for one in entry.published}:
        raise ConfigError(
            "No publication of this digest was found for anybody who withdrew",
            where="published",
            expected="a digest that `hdt-fm consent withdraw` printed",
            fix="run `hdt-fm consent withdraw` with root=FOLDER of the publication first",
        )
    (entry,) = register.add([said])
    told = {"settled": digest, "told": words, "entry": entry.number}
    say(told, [f"settled: entry {entry.number} of {wanted.register}"], as_json=options.json)
    return EXIT_OK
