"""`hdt-fm inspect PATH`: what a recording or a folder holds, in aggregates, and a plan for building from it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_pipelines.build_plan import BuildPlan, plan_text, write_plan
from data_pipelines.clocks import ClockPrint
from data_pipelines.cohorts.export import Export
from data_pipelines.cohorts.folder import Folder
from data_pipelines.inspect import Fingerprint, describe
from data_pipelines.propose import Reason, propose, summary
from data_pipelines.readers import choose, detect
from data_pipelines.readers._persons import HoldsPeople
from data_pipelines.survey import Survey, survey
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.progress import reporter
from hdt_fm.cli.tables import aligned
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.recording import Visit

PLAN_NAME = "plan.yaml"
# Reading needs a subject; nothing of it is shown.
_NOBODY = "s" + "0" * 32
_USAGE = """\
usage: hdt-fm inspect PATH [reader=auto | {readers}] [plan=FILE] [--json]

PATH is one recording (a file, zip or folder in a known format), or a folder of recordings, one child a visit.
Printed are aggregates: no id, no clock time, no single value. What could be made of it is written to FILE
(./plan.yaml; plan=null writes none; a file that is there is never replaced), each value with its reason. Edit it, then:

  hdt-fm shard cohort=folder source=FOLDER plan=plan.yaml
"""


def run(options: Options, arguments: list[str]) -> int:
    """Detect the format, read, describe, propose."""
    if options.help or not arguments:
        print(_USAGE.format(readers=" | ".join(registry.names("readers"))), end="")
        return EXIT_OK
    paths = [word for word in arguments if "=" not in word]
    settings = dict(word.split("=", 1) for word in arguments if "=" in word)
    if len(paths) != 1 or set(settings) - {"reader", "plan"}:
        raise ConfigError("`inspect` takes one path, reader=NAME and plan=FILE", got=" ".join(arguments))
    target = None if settings.get("plan") == "null" else Path(settings.get("plan", PLAN_NAME))
    if target is not None and "plan" in settings and target.exists():
        write_plan(BuildPlan.model_construct(), target)  # refused before anything is read
    found, seen = _look(Path(paths[0]), settings.get("reader", "auto"), quiet=options.json)
    plan, reasons = propose(seen)
    written = _written(plan, reasons, target, named="plan" in settings)
    if options.json:
        whole = {**found.to_dict(), "plan": plan.model_dump(mode="json"), "plan_digest": plan.digest}
        print(json.dumps(whole, allow_nan=False))
        return EXIT_OK
    print("\n".join(_fingerprint_lines(found) if isinstance(found, Fingerprint) else _survey_lines(found)))
    print(f"\n{written}")
    return EXIT_OK


def _look(path: Path, reader: str, *, quiet: bool) -> tuple[Fingerprint | Survey, Survey]:
    """What is there, and the same as a survey, which a plan is made from."""
    if path.is_dir() and any(path.iterdir()) and not _is_one(path, reader):
        return _survey(Folder(path=str(path), reader=reader, subject_key="public").visits(), quiet)
    name, chosen = choose(path, reader)
    if isinstance(chosen, HoldsPeople) and len(chosen.people(path)) > 1:
        return _survey(Export(path=str(path), reader=name, subject_key="public").visits(), quiet)
    visit: Visit = chosen.read(path, subject=_NOBODY)
    return describe(visit, format=name), survey(iter([_from(visit, name)]))


def _survey(visits: Iterator[Visit], quiet: bool) -> tuple[Survey, Survey]:
    # The public key does: pseudonyms tell people apart here and are not shown.
    total = len(visits)  # type: ignore[arg-type]
    many = survey(visits, total=total, progress=None if quiet else reporter("inspect"))
    return many, many


def _is_one(path: Path, reader: str) -> bool:
    if reader == "auto":
        return detect(path) is not None
    return bool(registry.find("readers", reader).detect(path))  # type: ignore[attr-defined]


def _from(visit: Visit, name: str) -> Visit:
    return Visit(visit.subject, visit.recordings, visit.labels, visit.covariates, visit.group, name)


def _written(plan: BuildPlan, reasons: Iterable[Reason], target: Path | None, *, named: bool) -> str:
    if target is None:
        return plan_text(plan, reasons)
    if target.exists() and not named:
        return f"{PLAN_NAME} is there already and was left as it is; plan=FILE writes another"
    write_plan(plan, target, reasons)
    return f"plan: {target} ({plan.digest[:19]}...): look at it, edit it, then hdt-fm shard cohort=folder plan={target}"


def _fingerprint_lines(found: Fingerprint) -> list[str]:
    rows = [
        {
            "modality": one.modality,
            "device": " ".join(word for word in (one.device, one.body_site) if word),
            "channels": " ".join(one.channels) if len(one.channels) <= 4 else str(len(one.channels)),
            "unit": one.unit if one.unit == one.source_unit else f"{one.unit} (of {one.source_unit})",
            "Hz": f"{one.sampling_rate_hz:.5g}" + _ppm(one.off_nominal_ppm),
            "hours": f"{one.duration_s / 3600:.3g}",
            "worn": "" if one.worn_hours is None else f"{one.worn_hours:.3g}",
            "starts": f"+{one.starts_after_s:.3g} s",
            "ends": f"-{one.ends_before_s:.3g} s",
            "observed": f"{one.observed_share:.1%}",
            "gaps": f"{one.gaps} (to {one.longest_gap_s:.3g} s)" if one.gaps else "none",
            "still": f"{one.flat_share:.1%}",
            "clipped": f"{one.clipped_share:.1%}",
            "twice": f"{one.repeated_share:.1%}",
            "artefacts": ", ".join(f"{name} {share:.0%}" for name, share in one.artefacts.items() if share >= 0.005),
            "pulses": one.polarity or "",
            "1 / 50 / 99 %": _typical(one.typical),
        }
        for one in found.signals
    ]
    labels = [
        f"label {one.name}: {one.count} {'events' if one.kind == 'event' else 'intervals'}"
        + (f" of {', '.join(one.classes)}" if one.classes else "")
        + (f", {one.unit}" if one.unit else "")
        + (f", {one.covered_s / 3600:.3g} h" if one.covered_s else "")
        for one in found.labels
    ]
    head = [f"format: {found.format}; clock: {found.clock}", *map(_clock_line, found.clocks), ""]
    return [*head, *aligned(rows), *([""] if labels else []), *labels, *_warned(found.warnings)]


def _clock_line(one: ClockPrint) -> str:
    if one.offset_s is None:
        return f"{one.pair[0]} against {one.pair[1]}: too little movement in common to compare their clocks"
    drift = "drift unknown" if one.drift_ppm is None else f"drift {one.drift_ppm:+.0f} ± {one.drift_error_ppm:.0f} ppm"
    return f"{one.pair[0]} against {one.pair[1]}: {one.offset_s:+.2f} ± {one.offset_error_s:.2f} s, {drift}"


def _ppm(off: float | None) -> str:
    return f" ({off:+.0f} ppm)" if off is not None and abs(off) >= 1 else ""


def _survey_lines(found: Survey) -> list[str]:
    rows = [
        {
            "modality": one.modality,
            "visits": str(one.visits),
            "device": ", ".join(one.devices[:3]),
            "unit": ", ".join(one.units[:3]),
            "Hz": ", ".join(f"{rate:.5g}" for rate, _ in one.sampling_rates_hz[:3]),
            "ppm": f"{one.off_nominal_ppm[0]:+.0f}" if one.off_nominal_ppm and any(one.off_nominal_ppm) else "",
            "hours": f"{one.hours:.3g}",
            "worn": "" if one.worn_hours is None else f"{one.worn_hours:.3g}",
            "observed": f"{one.observed_share:.1%}",
            "gaps/h": f"{one.gaps_per_hour:.3g}",
            "still": f"{one.flat_share:.1%}",
            "clipped": f"{one.clipped_share:.1%}",
            "twice": f"{one.repeated_share:.1%}",
            "motion": "" if one.motion_share is None else f"{one.motion_share:.0%}",
            "no contact": "" if one.contact_share is None else f"{one.contact_share:.0%}",
            "pulses": f"{one.upright} up, {one.inverted} down" if one.upright + one.inverted else "",
            "1 / 50 / 99 %": _typical(one.typical),
        }
        for one in found.modalities
    ]
    formats = ", ".join(f"{name} ({count})" for name, count in found.formats)
    clocks = ", ".join(f"{name} ({count})" for name, count in found.clocks)
    labels = ", ".join(f"{name} ({count})" for name, count in found.labels) or "none"
    head = [
        f"formats: {formats}",
        f"people: {found.people}; visits: {found.visits}, of {found.visit_hours:.3g} h in the median; clock: {clocks}",
        "",
    ]
    return [*head, *aligned(rows), "", f"labels: {labels}", *_warned(summary(found))]


def _warned(words: Iterable[str]) -> list[str]:
    return [f"warning: {text}" for text in words]


def _typical(typical: tuple[float, float, float] | None) -> str:
    return " / ".join(f"{value:.4g}" for value in typical) if typical else ""
