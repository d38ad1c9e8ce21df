"""An attribution report that goes out shows no recording and is of this model."""

from collections.abc import Iterator

from hdt_fm.report.evidence import ATTRIBUTION_HTML, ATTRIBUTION_JSON, WITHHELD
from hdt_fm.report.rules.folder import Folder


def attribution_report(folder: Folder) -> Iterator[str]:
    """Page and data both or neither, waveforms withheld in both, the digest one of this model's."""
    page, data = folder.path / ATTRIBUTION_HTML, folder.path / ATTRIBUTION_JSON
    if page.is_file() != data.is_file():
        yield f"{ATTRIBUTION_HTML} and {ATTRIBUTION_JSON} belong together; one is missing"
        return
    if not folder.facts or not folder.facts.attribution:
        return
    report, again = (
        folder.facts.attribution,
        "explain again with explain.withhold_waveforms=true (publish.attribution=false goes without)",
    )
    if report.waveforms:
        yield f"{ATTRIBUTION_JSON} holds waveforms, which can identify a person: {again}"
    if WITHHELD not in page.read_text(encoding="utf-8", errors="replace"):
        yield f"{ATTRIBUTION_HTML} may show waveforms, which can identify a person: {again}"
    digests = folder.facts.model_digests
    if digests and not any(one.startswith(report.checkpoint) for one in digests if report.checkpoint):
        yield "the attribution report is of another model: explain this one (publish.attribution=false goes without)"
