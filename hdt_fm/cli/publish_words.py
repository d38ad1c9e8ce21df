"""`hdt-fm publish card | check | verify | sign | seal | open`: the card to fill in, and what is done to a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.words import paths_and_settings
from hdt_fm.schema.errors import ConfigError, HdtError, PublishError

# Nothing was wrong with the command; the folder is.
EXIT_REFUSED = 1
USAGE = {
    "card": """usage: hdt-fm publish card --to FILE [--json]

  Writes a card.yaml with every field and what it means. Its placeholders block publication until they are filled in;
  then: hdt-fm publish publish.card=FILE. All else that a published folder says comes from the run's records.""",
    "check": """usage: hdt-fm publish check FOLDER [forbidden=FILE] [--json]
       hdt-fm publish check FOLDER consent=REGISTER checkpoint=FOLDER [shards=FOLDERS]

  Every reason why a published folder may not go out, rule by rule; all documents are made again from its records and
  compared to the byte. Ends with 0 if it may go out, 1 if not.

  forbidden=FILE    words that must stand in no file, one a line, such as the raw ids of a cohort; never printed
  consent=REGISTER  who has left since; a published folder names nobody, so say what it was made from as well:
  checkpoint=FOLDER the run's checkpoint, with people.json beside it
  shards=FOLDERS    shard folders that it was trained on, apart by commas, which may still hold them""",
    "verify": """usage: hdt-fm publish verify FOLDER [key=PUBLIC.pem] [--json]

  What a receiver asks: do the checksums fit, is the signature of this key, does the model load, does it make of the
  stored input what it made when it was published. Ends with 0 if all is so, 1 if not.

  key=PUBLIC.pem  of who signed; without it the signature is not looked at, and that is said""",
    "sign": """usage: hdt-fm publish sign FOLDER [--json]

  Writes model.sig, a signature of every file, after `publish check` found nothing. The private key (elliptic curve,
  PEM) is in the environment: HDT_FM_SIGNING_KEY, or HDT_FM_SIGNING_KEY_FILE with its path; never in a config.
  Needs pip install 'hdt-fm[signing]'.""",
    "seal": """usage: hdt-fm publish seal FOLDER to=FILE.tar.age [forbidden=FILE] [--json]

  Writes the folder as one file that only its recipients can open, after `publish check` found nothing. Who they are is
  in the environment: HDT_FM_RECIPIENTS, or HDT_FM_RECIPIENTS_FILE, public keys as `age-keygen` prints them. The file
  does not say who sealed it: sign the folder first. Needs pip install 'hdt-fm[sealed]'.

  forbidden=FILE  as of check""",
    "open": """usage: hdt-fm publish open FILE.tar.age to=FOLDER [key=PUBLIC.pem] [--json]

  Makes the folder that was sealed, then does what `publish verify` does. The secret key of one of the recipients is in
  the environment: HDT_FM_IDENTITY, or HDT_FM_IDENTITY_FILE. Needs pip install 'hdt-fm[sealed]'; without hdt_fm:
  age -d -i KEY_FILE FILE.tar.age | tar x

  key=PUBLIC.pem  of who signed; without it the signature is not looked at, and that is said""",
}
KNOWN: dict[str, tuple[str, ...]] = {
    "card": ("to",),
    "check": ("forbidden", "consent", "checkpoint", "shards"),
    "verify": ("key",),
    "sign": (),
    "seal": ("to", "forbidden"),
    "open": ("to", "key"),
}
NEEDED = {"card": ("to",), "seal": ("to",), "open": ("to",)}
Done = tuple[dict[str, Any], int]


def run(options: Options, arguments: list[str]) -> int:
    """Do one of them; `--json` prints what was found as one object."""
    word, rest = arguments[0], arguments[1:]
    if options.help or not rest:
        print(USAGE[word])
        return EXIT_OK
    paths, settings = paths_and_settings(
        f"publish {word}",
        rest,
        known=KNOWN[word],
        needed=NEEDED.get(word, ()),
        paths=0 if word == "card" else 1,
        usage=USAGE[word],
    )
    told, status = DO[word](settings, *paths)
    print(json.dumps(told) if options.json else "\n".join(_lines(told)))
    return status


def _card(settings: dict[str, str]) -> Done:
    from hdt_fm.report.card_facts import template

    target = Path(settings["to"])
    if target.exists():
        raise ConfigError("There is something at this place already", where=str(target), fix="choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(template(), encoding="utf-8")
    return {"card": str(target), "next": f"fill it in, then hdt-fm publish publish.card={target}"}, EXIT_OK


def _check(settings: dict[str, str], folder: Path) -> Done:
    from hdt_fm.report.check import by_rule

    withdrawn = _withdrawn(settings, _folder(folder)) if "consent" in settings else None
    found = by_rule(_folder(folder), forbidden=_words(settings.get("forbidden")), withdrawn=withdrawn)
    problems = {rule: said for rule, said in found.items() if said}
    told = {"rules": len(found), "may go out": not problems, "problems": problems}
    return told, EXIT_REFUSED if problems else EXIT_OK


def _verify(settings: dict[str, str], folder: Path) -> Done:
    from hdt_fm.checkpoint import load, model_digest
    from hdt_fm.cli.workflow import encoder_digest
    from hdt_fm.report.facts import PROVENANCE_NAME, Provenance, read_record
    from hdt_fm.report.rules.files import verify_sums
    from hdt_fm.report.rules.folder import SIGNATURE_NAME
    from hdt_fm.report.signature import signature_problems
    from hdt_fm.schema.manifest import SUMS_NAME

    folder = _folder(folder)
    sums = verify_sums(folder) if (folder / SUMS_NAME).is_file() else [f"there is no {SUMS_NAME}"]
    problems, told = {"checksums": sums}, {"checksums": "fit"}
    if "key" in settings:
        problems["signature"], told["signature"] = signature_problems(folder, Path(settings["key"])), "is of this key"
    else:
        there = (folder / SIGNATURE_NAME).is_file()
        told["signature"] = "not looked at: give key=PUBLIC.pem" if there else "none"
    try:
        # Strict: every tensor, every checksum, and the stored embedding made again.
        model = load(folder)
        told |= {"loads": "yes", "stored embedding": "reproduced", "model": model_digest(model)}
        named = read_record(folder / PROVENANCE_NAME, Provenance).model_digests
        if named and not {model_digest(model), encoder_digest(model)} & set(named):
            problems["provenance"] = [f"{PROVENANCE_NAME} is of another model"]
    except HdtError as error:
        problems["loads"] = [error.problem]
    problems = {name: said for name, said in problems.items() if said}
    told = {name: said for name, said in told.items() if name not in problems}
    return {**told, "problems": problems}, EXIT_REFUSED if problems else EXIT_OK


def _sign(settings: dict[str, str], folder: Path) -> Done:
    from hdt_fm.checkpoint.keys import told_by
    from hdt_fm.report.check import check
    from hdt_fm.report.signature import KEY_VARIABLE, sign

    key = told_by(KEY_VARIABLE)
    if key is None:
        raise ConfigError(
            "There is no key to sign with",
            where=f"environment variable {KEY_VARIABLE} or {KEY_VARIABLE}_FILE",
            expected="an elliptic-curve private key as PEM",
            fix="openssl ecparam -name prime256v1 -genkey -noout -out FILE makes one",
        )
    problems = check(_folder(folder))
    if problems:
        return {"signed": False, "problems": {"check": problems}}, EXIT_REFUSED
    return {"signed": str(sign(folder, key))}, EXIT_OK


def _seal(settings: dict[str, str], folder: Path) -> Done:
    from hdt_fm.report.bundle import seal_folder
    from hdt_fm.schema.age import recipients

    to, target = recipients(needed=True), Path(settings["to"])
    told, status = _check(settings, folder)
    if status != EXIT_OK:
        return {"sealed": False, "problems": told["problems"]}, status
    files = seal_folder(folder, target, to)
    return {"sealed": str(target), "files": files, "recipients": len(to)}, EXIT_OK


def _open(settings: dict[str, str], sealed: Path) -> Done:
    from hdt_fm.report.bundle import open_bundle
    from hdt_fm.schema.age import Identity

    target = Path(settings.pop("to"))
    files = open_bundle(sealed, target, Identity(wrong=PublishError, damaged=PublishError))
    told, status = _verify(settings, target)
    return {"opened": str(target), "files": files, **told}, status


def _withdrawn(settings: dict[str, str], folder: Path) -> Callable[[], list[str]]:
    """Who says of people that left: the register, over what this very model was made from."""
    from hdt_fm.checkpoint import load, model_digest
    from hdt_fm.cli.workflow import encoder_digest
    from hdt_fm.consent.remedies import withdrawn_in_lineage
    from hdt_fm.report.facts import PROVENANCE_NAME, Provenance, read_record

    if "checkpoint" not in settings:
        raise ConfigError(
            "A register knows people, and a published folder names none",
            where="hdt-fm publish check",
            expected="checkpoint=FOLDER of the run that it was published from",
        )
    checkpoint, model = Path(settings["checkpoint"]), load(settings["checkpoint"])
    if not {model_digest(model), encoder_digest(model)} & {
        *read_record(folder / PROVENANCE_NAME, Provenance).model_digests
    }:
        raise ConfigError(
            "The checkpoint is not what was published",
            where=str(checkpoint),
            expected=f"a model that {PROVENANCE_NAME} names",
            fix="name the checkpoint of the run that this folder was published from",
        )
    shards = [Path(one) for one in settings.get("shards", "").split(",") if one]
    return lambda: withdrawn_in_lineage(Path(settings["consent"]), checkpoint, shards)


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(
            "There is no published folder here", where=str(folder), fix="`hdt-fm publish` makes one: RUN/publish/model"
        )
    return folder


def _words(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        return Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("The list of words cannot be read", where=path, got=type(error).__name__) from error


def _lines(told: dict[str, Any]) -> list[str]:
    """For a person: a line a fact, a line a problem."""
    lines = [f"{key:<18} {value}" for key, value in told.items() if key != "problems"]
    return lines + [f"{name}: {one}" for name, said in told.get("problems", {}).items() for one in said]


DO: dict[str, Callable[..., Done]] = {
    "card": _card,
    "check": _check,
    "verify": _verify,
    "sign": _sign,
    "seal": _seal,
    "open": _open,
}
