"""What `hdt-fm fetch` says before and after."""

import json
from pathlib import Path

from data_pipelines.fetch import UNKNOWN, Fetched
from data_pipelines.fetch.published import SETS, Archive, Published
from hdt_fm.cli.config_files import config_root


def described(name: str, published: Published, folder: Path, settings: dict[str, str]) -> str:
    """All that somebody should know before saying yes."""
    source = published.source
    if isinstance(source, Archive):
        digest = f"{source.sha256} ({source.trust})" if source.sha256 else settings.get("sha256") or UNKNOWN
    else:
        digest = f"of each file, in {source.url}: fetched over https from the publisher, not pinned here"
    rows = {
        "what": published.title,
        "from": settings.get("from", source.url),
        "page": published.page,
        "confirmed": published.confirmed,
        "size": _size(published),
        "sha256": digest,
        "licence": published.licence,
        "to": f"{folder} (and {folder.parent / f'.{folder.name}.fetch'} until it is whole)",
    }
    return "\n".join([f"{name}:", *(f"  {key:<10} {value}" for key, value in rows.items())])


def _size(published: Published) -> str:
    size = published.source.size if isinstance(published.source, Archive) else None
    if size is not None:
        return f"{size} bytes"
    return f"about {published.about}, as others tell it" if published.about else "unknown"


def _experiment(name: str) -> str | None:
    """The experiment that reads the set, if there is one."""
    return name if (config_root() / "experiment" / f"{name}.yaml").is_file() else None


def ending(name: str, published: Published, done: Fetched, *, as_json: bool) -> str:
    """Where the data are, where they came from, and the command that reads them."""
    reads = done.folder / published.reads
    experiment = _experiment(name)
    following = f"hdt-fm shard experiment={experiment} source={reads}" if experiment else None
    if as_json:
        return json.dumps(
            {"name": name, "folder": str(done.folder), "new": done.new, "origin": done.origin, "next": following}
        )
    head = (
        f"{name}: in {done.folder}" if done.new else f"{name}: already in {done.folder}; --verify compares every file"
    )
    return "\n".join([head, *(f"  {line}" for line in done.origin), f"next: {following}" if following else ""]).rstrip()


def listed(*, as_json: bool) -> str:
    """Every set with its licence, its size and the experiment that reads it."""
    if as_json:
        rows = {
            name: {"title": one.title, "licence": one.licence, "size": _size(one), "experiment": _experiment(name)}
            for name, one in SETS.items()
        }
        return json.dumps(rows)
    lines = []
    for name, one in SETS.items():
        reader = f"experiment={_experiment(name)}" if _experiment(name) else "no experiment yet"
        lines += [f"{name}: {one.title}", f"  {one.licence}", f"  size {_size(one)}; read by {reader}"]
    return "\n".join([*lines, "`hdt-fm fetch NAME` shows the whole entry and asks before it downloads."])
