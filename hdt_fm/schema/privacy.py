"""What must not stand in a file that leaves the lab: found by its form, reported by kind, never quoted."""

import re
from collections.abc import Iterable

_TRACES = {
    "a pseudonym of a person": re.compile(r"(?<![0-9a-zA-Z])s[0-9a-f]{32}(?![0-9a-zA-Z])"),
    "an e-mail address": re.compile(r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"),
    # A slash that opens a word and a second one after it: /home/x, /mnt/x; not a/b, not https://x/y, not </p>.
    "an absolute path": re.compile(
        r"(?<![\w./<*])/(?:[\w.+-]+/)+[\w.+-]*|(?<!\w)[A-Za-z]:\\{1,2}[\w .-]+|(?<!\w)~/[\w.]|file://"
    ),
}
_DATE = re.compile(r"(?<!\d)(?:19|20)\d{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)")


def private_traces(text: str, *, forbidden: Iterable[str] = (), dates: bool = False) -> tuple[str, ...]:
    """Kinds of private traces in a text, e.g. `an absolute path`; empty when there is none.

    Args:
        forbidden: Further words that must not appear whole, such as raw ids.
        dates: Whether a calendar date counts (it does in a report on one person's windows).
    """
    found = [kind for kind, pattern in _TRACES.items() if pattern.search(text)]
    if dates and _DATE.search(text):
        found.append("a calendar date")
    if any(word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in forbidden):
        found.append("a name from the forbidden list")
    return tuple(found)
