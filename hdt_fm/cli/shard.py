"""`hdt-fm shard`: recordings -> windows in webdataset shards."""

import time
from pathlib import Path
from typing import Any

from data_pipelines.build import build_shards
from data_pipelines.engine.settings import EngineSettings
from hdt_fm.cli.compose import Config
from hdt_fm.cli.planned import planned
from hdt_fm.cli.progress import Report
from hdt_fm.cli.run import Run, peak_memory_gb
from hdt_fm.cli.settings import ShardSettings
from hdt_fm.schema.age import recipients
from hdt_fm.schema.result import RunRecord
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.signal.windows import cut

# Beside result.json, not in the shard folder: what lies there is the same whenever and by whatever it was made.
REPORT_NAME = "report.json"


def run(run: Run) -> RunRecord:
    """Build the shard folder, or go on with an interrupted build."""
    config = run.config
    settings = config.section("shard", ShardSettings)
    folder = Path(config.value("shards"))
    what = planned(config)
    manifest = build_shards(
        what.cohort,
        folder=folder,
        name=str(config.value("name")),
        preparation=what.preparation,
        plan_digest=what.plan_digest,
        encoding=settings.encoding,
        codec=settings.codec,
        sealed=settings.sealed,
        block_windows=settings.block_windows,
        shard_mb=settings.shard_mb,
        seed=settings.seed,
        subject_key=subject_key(config),
        consent=Path(settings.consent) if settings.consent else None,
        purpose=settings.purpose,
        on_error=settings.on_error,
        engine=config.section("engine", EngineSettings),
        report=run.folder / REPORT_NAME,
        progress=by_stage(run),
    )
    counts = manifest.counts
    return run.finish(
        outputs={"shards": folder, "report": run.folder / REPORT_NAME},
        following=(f"hdt-fm pretrain {config.chosen}",),
        summary={
            "people": len(manifest.subjects),
            "windows": manifest.windows,
            "hours": round(sum(row.hours for row in manifest.subjects), 2),
            "dropped for coverage": counts.windows_dropped_coverage,
            "quarantined recordings": counts.quarantined,
            "modalities": ", ".join(column.name for column in manifest.header.modalities),
            "labels": ", ".join(column.name for column in manifest.header.labels) or "none",
        },
        provenance={"config": manifest.config_digest, "inputs": manifest.input_digest, "licence": manifest.licence},
    )


def by_stage(run: Run) -> Report:
    """Rate and time left of each stage by itself: visits are counted in one, blocks in the other."""
    reports: dict[str, Report] = {}

    def report(done: int, total: int, note: str = "") -> None:
        if note not in reports:
            reports[note] = run.progress(f"shard: {note}")
        reports[note](done, total, "")

    return report


def plan(config: Config) -> dict[str, Any]:
    """Read and cut one visit, and say what the whole would take."""
    recipients(needed=config.section("shard", ShardSettings).sealed)
    config.section("engine", EngineSettings).require()
    what = planned(config)
    cohort, preparation = what.cohort, what.preparation
    visits = cohort.visits()
    count = len(visits) if hasattr(visits, "__len__") else getattr(cohort, "subjects", None)
    start = time.monotonic()
    windows = cut(next(visits), preparation)
    seconds = time.monotonic() - start
    one = sum(values.nbytes for values in windows.signals.values()) / max(len(windows.starts_ns), 1)
    files = len(cohort.inputs())
    return {
        "cohort": cohort.name,
        "input files": files or "simulated",
        "windows of the first visit": len(windows.starts_ns),
        "present": {name: int(windows.present[:, k].sum()) for k, name in enumerate(windows.modalities)},
        "labels": ", ".join(windows.labels) or "none",
        "visits": count,
        "estimated minutes": round(seconds * count / 60, 1) if count else "unknown",
        "peak memory GB": peak_memory_gb(),
        "KB a window (float32)": round(one / 1024, 1),
    }


def subject_key(config: Config) -> SubjectKey:
    """The key of the cohort's pseudonyms, which also shifts its dates."""
    return SubjectKey.find(str(config.part("cohort").args.get("subject_key", "public")))
