"""The consent table or register: who may be read. Asked before anything of a person is opened, again before packing."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from hdt_fm.consent.duo import scope_of
from hdt_fm.consent.register import Register, is_register
from hdt_fm.consent.standing import standings
from hdt_fm.schema.errors import ConfigError, ShardError

EVERYONE = "all"
MAX_BYTES = 256 << 20
# The words of a register, each with the plain one that it is read as.
_ALSO = {"pseudonym": "subject", "scope": "purpose", "valid_to": "expires", "status": "consent"}
_COLUMNS = ("subject", "consent", "purpose", "valid_from", "expires", "withdrawn")
_ANSWERS = {"yes": True, "no": False, "active": True, "inactive": False, "withdrawn": False, "expired": False}
_EXPECTED = (
    "a CSV with the columns subject (pseudonym) and consent (yes or no), and if wanted purpose (names with ; between), "
    "valid_from, expires (YYYY-MM-DD, the last day) and withdrawn (yes, no, or the day)"
)


@dataclass(frozen=True)
class Consent:
    """Answers by pseudonym, for one purpose on one day.

    Attributes:
        version: `all` without a table, else its sha256 (and the purpose); goes into the manifest.
        answers: Pseudonym -> yes or no. Who is not in the table has not said yes.
        dated: Whether another day could give other answers.
    """

    version: str = EVERYONE
    answers: Mapping[str, bool] = field(default_factory=dict)
    dated: bool = False

    def allows(self, subject: str) -> bool:
        return self.version == EVERYONE or self.answers.get(subject, False)

    @property
    def agreed(self) -> str:
        """What tells this consent from another: with dates also who agreed, so that another day is the same data set
        unless somebody's consent began or ended."""
        if not self.dated:
            return self.version
        yes = sorted(subject for subject, answer in self.answers.items() if answer)
        return hashlib.sha256("\n".join(yes).encode()).hexdigest()


def read_consent(path: Path | None, *, purpose: str | None = None, on: date | None = None) -> Consent:
    """Read a consent table or a register of consent (`hdt-fm consent new`); None allows everyone.

    A row says yes if `consent` does (`status`: active), its purpose is the one asked for or it names none, the day lies
    within `valid_from` and `expires`, and it is not `withdrawn` by that day. A person with several rows needs one yes
    and no row that says no or withdrawn to this purpose. Columns may have the names of a consent register: pseudonym,
    scope, valid_to, status.

    Of a register the purpose is codes of the Data Use Ontology, with the modifiers that the use keeps to:
    `DUO:0000042`, `DUO:0000006+DUO:0000046`, `DUO:0000007+MONDO:0005148`.

    Args:
        purpose: Such as a code of the GA4GH Data Use Ontology; must be given if the table tells purposes apart,
            and with a register.
        on: The day; today, in UTC, if None.

    Raises:
        ConfigError: If the file, a column or an answer is not as it should be, the register is not what was written,
            or the purpose is missing or (of a register) none of the ontology.
    """
    if path is None:
        return Consent()
    day = on or datetime.now(UTC).date()
    if is_register(path):
        return _of_register(Register(path), purpose, day)
    rows, data = _rows(path)
    if purpose is None and any(row["purpose"] for row in rows):
        raise ConfigError(
            "The consent table tells purposes apart",
            where="shard.purpose",
            expected="what the shards are for, in the table's words",
            fix="set shard.purpose",
        )
    said: dict[str, list[bool | None]] = {}
    try:
        for row in rows:
            said.setdefault(row["subject"], []).append(_answer(row, purpose, day))
    except (KeyError, ValueError) as error:
        raise _unreadable(path, error) from None
    answers = {subject: any(answers) and False not in answers for subject, answers in said.items()}
    asked = f" for {purpose}" if purpose else ""
    dated = any(row[name] not in ("", "yes", "no") for row in rows for name in ("valid_from", "expires", "withdrawn"))
    return Consent(f"sha256:{hashlib.sha256(data).hexdigest()}{asked}", answers, dated)


def _of_register(register: Register, purpose: str | None, day: date) -> Consent:
    if purpose is None:
        raise ConfigError(
            "A register tells purposes apart",
            where="shard.purpose",
            expected="codes of the Data Use Ontology, such as DUO:0000042 (general research use)",
            fix="set shard.purpose",
        )
    use = scope_of([purpose], where="shard.purpose")
    found = standings(register.entries)
    answers = {subject: one.state(use, day) == "permits" for subject, one in found.items()}
    dated = any(entry.valid_from or entry.valid_to for one in found.values() for entry in one.given)
    asked = "+".join((*use.codes, *use.diseases))
    return Consent(f"{register.digest} for {asked}", answers, dated)


def check_again(allowed: Consent, subjects: Iterable[str]) -> None:
    """Refuse to pack anyone who did not agree.

    Raises:
        ShardError: If there is one.
    """
    wrong = sum(not allowed.allows(subject) for subject in set(subjects))
    if wrong:
        raise ShardError(
            "People without consent would be packed", got=f"{wrong} people", fix="report this: it is a bug"
        )


def _rows(path: Path) -> tuple[list[dict[str, str]], bytes]:
    """Rows with every column of ours, by its plain name; what is missing is empty."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError
        found = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        names = {name: _ALSO.get(plain, plain) for name in found.fieldnames or () if (plain := name.strip().lower())}
        if len(set(names.values())) < len(names) or not {"subject", "consent"} <= set(names.values()):
            raise KeyError
        rows = [
            dict.fromkeys(_COLUMNS, "")
            | {names[name]: (text or "").strip() for name, text in row.items() if name in names}
            for row in found
        ]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise _unreadable(path, error) from None
    return rows, data


def _answer(row: Mapping[str, str], purpose: str | None, day: date) -> bool | None:
    """Yes, no, or nothing said about this purpose on this day."""
    purposes = {name.strip() for name in row["purpose"].split(";") if name.strip()}
    yes = _ANSWERS[row["consent"].lower()]
    withdrawn = row["withdrawn"].lower()
    gone = withdrawn == "yes" or (withdrawn not in ("", "no") and _day(withdrawn) <= day)
    began = not row["valid_from"] or _day(row["valid_from"]) <= day
    ended = bool(row["expires"]) and _day(row["expires"]) < day
    if not row["subject"]:
        raise KeyError
    if purposes and purpose not in purposes:
        return None
    if gone or not yes:
        return False
    return True if began and not ended else None


def _day(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}(T[0-9:.]+Z?)?", text, re.IGNORECASE):
        raise ValueError
    return date.fromisoformat(text[:10])


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        "The consent table cannot be read",
        where=path.name,
        expected=_EXPECTED,
        got=type(error).__name__,
        fix="nobody is read without a valid table; leave consent out if none is needed",
    )
