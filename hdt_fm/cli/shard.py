"""`hdt-fm shard`: recordings -> windows in webdataset shards."""

import time
from pathlib import Path
from typing import Any

from data_pipelines.build import build_shards
from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run, peak_memory_gb
from hdt_fm.cli.settings import ShardSettings
from hdt_fm.schema import registry
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.result import RunRecord
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.signal.windows import cut


def run(run: Run) -> RunRecord:
    """Build the shard folder, or go on with an interrupted build."""
    config = run.config
    settings = config.section("shard", ShardSettings)
    folder = Path(config.value("shards"))
    manifest = build_shards(
        cohort_of(config),
        folder=folder,
        name=str(config.value("name")),
        preparation=config.section("preparation", Preparation),
        encoding=settings.encoding,
        block_windows=settings.block_windows,
        shard_mb=settings.shard_mb,
        seed=settings.seed,
        subject_key=subject_key(config),
        consent=Path(settings.consent) if settings.consent else None,
        on_error=settings.on_error,
        progress=run.progress("shard"),
    )
    counts = manifest.counts
    return run.finish(
        outputs={"shards": folder},
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


def plan(config: Config) -> dict[str, Any]:
    """Read and cut one visit, and say what the whole would take."""
    config.section("shard", ShardSettings)
    preparation = config.section("preparation", Preparation)
    cohort = cohort_of(config)
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


def cohort_of(config: Config) -> Any:
    """The cohort that the config names."""
    part = config.part("cohort")
    return registry.build("cohorts", part.name, part.args)


def subject_key(config: Config) -> SubjectKey:
    """The key of the cohort's pseudonyms, which also shifts its dates."""
    return SubjectKey.find(str(config.part("cohort").args.get("subject_key", "public")))
