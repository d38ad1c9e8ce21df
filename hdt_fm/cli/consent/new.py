"""`hdt-fm consent new REGISTER`: an empty register."""

from hdt_fm.cli.consent.words import asked, say
from hdt_fm.cli.main import EXIT_OK, Options

USAGE = """\
usage: hdt-fm consent new REGISTER [--json]

  Makes the folder REGISTER with an empty register of consent: one JSON line for each thing that was said, for ever,
  each naming the line before it by its SHA-256. With HDT_FM_CONSENT_KEY (or HDT_FM_CONSENT_KEY_FILE) set, lines are
  signed, and lines that are not, or by another key, are refused. Keep it outside of the folders of runs; keep copies.

example:
  hdt-fm consent new consent_register
"""


def run(options: Options, arguments: list[str]) -> int:
    """Make, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    path = asked("new", arguments, ()).register
    from hdt_fm.consent.register import Register

    register = Register.create(path)
    told = {"register": str(path), "entries": len(register.entries), "signed": register.signed}
    signed = "signed" if register.signed else "not signed: set HDT_FM_CONSENT_KEY for that, before the first line"
    lines = [f"a register of consent -> {path} ({signed})"]
    follow = f"hdt-fm consent give {path} --subjects FILE scope=DUO:0000042 version=1.0"
    say({**told, "next": follow}, [*lines, f"next: {follow}"], as_json=options.json)
    return EXIT_OK
