"""Shards from a server that does what servers do: it stumbles, cuts off, damages, sends elsewhere, knows no ranges."""

import logging
import pickle
import random
import re
import shutil
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest

from data_pipelines.finished import manifest_of
from data_pipelines.sealing import rewrite
from hdt_fm.data.disk_cache import DiskCache, cache_of
from hdt_fm.data.ranged_get import Server
from hdt_fm.data.remote import RemoteFolder, place_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError


class Site:
    """A folder on a server of its own, with faults that a test plans.

    Attributes:
        faults: Called with the path and the range asked for; what it returns is done instead of a good answer.
        asked: (path, range, headers) of each request.
    """

    def __init__(self, folder):
        self.folder, self.faults, self.asked, self.ranges = folder, lambda path, span: None, [], True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.server.daemon_threads, self.server.handle_error = True, lambda *who: None
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/data"

    def paths(self, end):
        return [path for path, _, _ in self.asked if path.endswith(end)]


class Handler(BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 1 << 20

    def __init__(self, site, *arguments):
        self.site = site
        super().__init__(*arguments)

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        asked = self.headers.get("Range")
        span = tuple(map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups())) if asked else None
        self.site.asked.append((path, span, dict(self.headers) | {"query": urlsplit(self.path).query}))
        fault = self.site.faults(path, span)
        file = self.site.folder / path.removeprefix("/data/")
        if isinstance(fault, int):
            return self.answer(fault, b"", {"Retry-After": "7"})
        if isinstance(fault, str):
            return self.answer(302, b"", {"Location": fault})
        if not file.is_file():
            return self.answer(404, b"")
        data, status, more = file.read_bytes(), 200, {}
        if span and self.site.ranges:
            status, more = 206, {"Content-Range": f"bytes {span[0]}-{span[1]}/{len(data)}"}
            data = data[span[0] : span[1] + 1]
        if fault == ("damage",):
            data = bytes([data[0] ^ 1]) + data[1:] if len(data) < 2000 else data[:1500] + b"?!" + data[1502:]
        if fault == ("other range",):
            more["Content-Range"] = f"bytes 0-{span[1] - span[0]}/{file.stat().st_size}"
        if fault == ("other size",):
            more["Content-Range"] = f"bytes {span[0]}-{span[1]}/{file.stat().st_size + 512}"
        if fault == ("short",):
            data = data[:-3]
        if fault == ("hang",):
            time.sleep(0.6)
        return self.answer(status, data, more, cut=fault == ("cut",), drop=fault == ("drop",))

    def answer(self, status, data, more=(), *, cut=False, drop=False):
        if drop:
            self.close_connection = True
            return
        self.send_response(status)
        for key, value in dict(more).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut


@pytest.fixture(scope="module")
def folders(made, tmp_path_factory):
    """The same windows, plain and packed."""
    root = tmp_path_factory.mktemp("folders")
    for codec in ("none", "b2"):
        made.write_folder(root / codec, codec)
    return root


@pytest.fixture(scope="module")
def local(folders):
    """What the folder here gives."""
    return read_all(folders / "none")


@pytest.fixture
def site(folders):
    made = Site(folders / "none")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HDT_FM_SHARDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hdt_fm.data.ranged_get.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("hdt_fm.data.ranged_get.LONGEST_WAIT_S", 0.002)
    return tmp_path / "cache"


def read_all(place, **settings):
    opened = ShardFolder.open(place, **settings)
    return opened.gather(np.random.default_rng(0).permutation(opened.windows))


def same(one, other):
    assert (one.window_id == other.window_id).all()
    for name, signal in one.signals.items():
        assert (other.signals[name].values == signal.values).all()
        assert (other.signals[name].observed == signal.observed).all()


@pytest.mark.parametrize("codec", ["none", "b2"])
def test_a_folder_on_a_server_gives_the_windows_of_the_local_one(folders, site, codec):
    site.folder = folders / codec
    same(read_all(folders / codec), read_all(site.address))
    same(read_all(folders / codec, split="test"), read_all(site.address, split="test"))
    assert ShardFolder.open(site.address).digest == ShardFolder.open(folders / codec).digest


def test_only_what_is_needed_travels_and_only_once(site, monkeypatch):
    monkeypatch.setattr("hdt_fm.data.remote_tar.SMALL_BYTES", 2000)
    opened = ShardFolder.open(site.address, split="train")
    assert {span for path, span, _ in site.asked if path.endswith(".idx")} == {None}
    before = sum(span[1] + 1 - span[0] for _, span, _ in site.asked if span)
    assert before < 0.5 * sum(entry.bytes for entry in opened.manifest.splits["train"])
    opened.gather(np.arange(6))
    first = len(site.asked)
    opened.gather(np.arange(6))
    assert len(site.asked) == first
    again = ShardFolder.open(site.address, split="train")
    again.gather(np.arange(6))
    assert [path for path, _, _ in site.asked[first:]] == ["/data/manifest.json"]


def test_an_address_survives_being_taken_for_a_path(folders, site, local):
    from pathlib import Path

    same(local, read_all(Path(site.address)))
    same(local, read_all((folders / "none").as_uri()))
    assert place_of("file:///a%20b/c") == Path("/a b/c")
    assert place_of("a/b") == Path("a/b")


@pytest.mark.parametrize("fault", [500, 503, 429, ("drop",), ("cut",), ("short",), ("other range",)])
def test_what_passes_is_waited_for(site, fault, local):
    seen = {}

    def faults(path, span):
        seen[path, span] = seen.get((path, span), 0) + 1
        usable = span is not None or fault not in (("other range",), ("short",))
        return fault if seen[path, span] < 3 and usable else None

    site.faults = faults
    same(local, read_all(site.address))


@pytest.mark.parametrize("fault", [500, ("drop",), ("cut",)])
def test_what_does_not_pass_is_told(site, fault):
    site.faults = lambda path, span: fault if path.endswith("train/made-00001.tar") else None
    with pytest.raises(ShardError, match="could not be read") as caught:
        read_all(site.address)
    assert "after 6 tries" in str(caught.value)
    assert "train/made-00001.tar" in str(caught.value)


def test_waits_double_and_heed_the_server(site, monkeypatch):
    monkeypatch.setattr("hdt_fm.data.ranged_get.FIRST_WAIT_S", 1.0)
    monkeypatch.setattr("hdt_fm.data.ranged_get.LONGEST_WAIT_S", 12.0)
    waits = []
    site.faults = lambda path, span: 503
    with pytest.raises(ShardError):
        Server(site.address, sleep=waits.append).get("manifest.json", limit=10)
    assert len(waits) == 5
    assert waits[:3] == [7.0, 7.0, 7.0]  # as Retry-After asks
    assert 7.0 <= waits[3] <= 8.0
    assert 8.0 <= waits[4] <= 12.0


def test_a_silent_server_is_given_up(site):
    site.faults = lambda path, span: ("hang",)
    with pytest.raises(ShardError, match="ReadTimeoutError after 2 tries"):
        Server(site.address, tries=2, timeout_s=0.1).get("manifest.json", limit=10)


def test_damage_on_the_way_is_fetched_again_once_and_then_told(site, caplog, local):
    seen = set()

    def once(path, span):
        fresh = (path, span) not in seen and path.endswith((".tar", ".idx"))
        seen.add((path, span))
        return ("damage",) if fresh else None

    site.faults = once
    with caplog.at_level(logging.WARNING):
        same(local, read_all(site.address))
    assert "came damaged and is fetched again" in caplog.text
    for path in cache_of().folder.iterdir():
        path.unlink()
    site.faults = lambda path, span: ("damage",) if span and span[0] and "00002" in path else None
    with pytest.raises(CorruptShardError, match="the same from the server twice") as caught:
        read_all(site.address)
    assert re.search(r"train/made-00002\.tar: b\d{6}\.\w+\.npy", str(caught.value))


def test_damage_in_the_cache_is_found_and_mended(folders, site, own_cache):
    expected = read_all(site.address)
    chance = random.Random(0)
    for path in own_cache.iterdir():
        raw = bytearray(path.read_bytes())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(raw if chance.random() < 0.7 else raw[: len(raw) // 2])
    same(expected, read_all(site.address))


def test_a_server_without_ranges_gives_each_shard_once(site, caplog, local):
    site.ranges = False
    with caplog.at_level(logging.WARNING):
        same(local, read_all(site.address))
    assert "whole files only" in caplog.text
    whole = [path for path, span, _ in site.asked if path.endswith(".tar") and span is None]
    assert sorted(whole) == sorted(set(whole))
    assert len(whole) == 4
    site.asked.clear()
    site.faults = lambda path, span: ("damage",) if path.endswith(".tar") else None
    for path in cache_of().folder.iterdir():
        path.unlink()
    with pytest.raises(CorruptShardError, match="differ from what was written"):
        read_all(site.address)


def test_full_verification_and_a_missing_index_take_the_whole_shard(site, caplog, local):
    same(local, read_all(site.address, verify="full"))
    assert len([1 for path, span, _ in site.asked if path.endswith(".tar") and span is None]) == 4
    site.faults = lambda path, span: 404 if path.endswith("made-00000.idx") else None
    for path in cache_of().folder.iterdir():
        path.unlink()
    with caplog.at_level(logging.WARNING):
        same(local, read_all(site.address))
    assert "has no index that fits" in caplog.text


def test_missing_changed_and_foreign_files_are_told(site, folders):
    with pytest.raises(ShardError, match=r"manifest\.json in it"):
        ShardFolder.open(site.address + "/nothing")
    site.faults = lambda path, span: 404 if path.endswith("00001.tar") else None
    with pytest.raises(CorruptShardError, match="is missing"):
        read_all(site.address)
    site.faults = lambda path, span: ("other size",) if path.endswith("00001.tar") else None
    with pytest.raises(CorruptShardError, match="cut off or changed"):
        read_all(site.address)
    site.faults = lambda path, span: 416 if path.endswith("00001.tar") else None
    with pytest.raises(CorruptShardError, match="cut off or changed"):
        read_all(site.address)
    site.faults = lambda path, span: 403
    with pytest.raises(ShardError, match="HDT_FM_SHARDS_AUTHORIZATION"):
        read_all(site.address)
    site.faults = lambda path, span: None
    with pytest.raises(ShardError, match="too large"):
        Server(site.address).get("manifest.json", limit=100)


def test_credentials_travel_where_they_may_and_show_nowhere(site, folders, monkeypatch, caplog):
    other = Site(folders / "none")
    monkeypatch.setenv("HDT_FM_SHARDS_AUTHORIZATION", "Bearer sesame")
    monkeypatch.setenv("HDT_FM_SHARDS_QUERY", "?sig=opensaysme")
    site.faults = lambda path, span: other.address + path.removeprefix("/data") if "00001.tar" in path else None
    with caplog.at_level(logging.DEBUG):
        read_all(site.address)
        site.faults = lambda path, span: 403 if path.endswith(".json") else 500
        with pytest.raises(ShardError) as refused:
            ShardFolder.open(site.address)
    other.server.shutdown()
    assert all(headers.get("Authorization") == "Bearer sesame" for _, _, headers in site.asked)
    assert all(headers["query"] == "sig=opensaysme" for _, _, headers in site.asked)
    assert other.asked
    assert not any("Authorization" in headers for _, _, headers in other.asked)
    told = caplog.text + str(refused.value) + repr(Server(site.address))
    assert "sesame" not in told
    assert "GET /data/train/made-00000.tar" in told
    assert "opensaysme" not in told


def test_addresses_with_secrets_and_open_roads_are_refused(monkeypatch):
    for address in ("https://me:secret@host/x", "https://host/x?token=secret", "https://host/x#secret"):
        with pytest.raises(ConfigError, match="more than an address") as caught:
            Server(address)
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("HDT_FM_SHARDS_AUTHORIZATION", "Bearer sesame")
    with pytest.raises(ConfigError, match="in the open"):
        Server("http://example.org/x")
    with pytest.raises(ConfigError, match="cannot be read as one"):
        Server("ftp://example.org/x")


def test_a_redirect_to_an_unsafe_place_is_refused(site):
    site.faults = lambda path, span: "http://localhost:9/elsewhere"
    with pytest.raises(ShardError, match="not safe"):
        ShardFolder.open(site.address)
    site.faults = lambda path, span: site.address + "/manifest.json"
    with pytest.raises(ShardError, match="cannot be used"):
        ShardFolder.open(site.address)


def test_the_cache_stays_within_its_bound_and_keeps_what_was_used_last(site, tmp_path, monkeypatch):
    monkeypatch.setattr("hdt_fm.data.remote_tar.SMALL_BYTES", 200)
    monkeypatch.setenv("HDT_FM_SHARDS_CACHE_GB", str(60e-6))
    folder = cache_of().folder
    folder.mkdir()
    (folder / "somebody's thesis.tar").write_bytes(b"x" * 100_000)
    opened = ShardFolder.open(site.address)
    chance, most = np.random.default_rng(0), 0
    for _ in range(6):
        opened._shards[0]._held.__init__(limit_bytes=1)
        opened.gather(chance.permutation(opened.windows)[:8])
        most = max(most, sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".tar"))
    assert 30_000 < most <= 60_000
    assert (folder / "somebody's thesis.tar").exists()
    assert folder.stat().st_mode & 0o777
    monkeypatch.setenv("HDT_FM_SHARDS_CACHE_GB", str(1e-6))
    with pytest.raises(ShardError, match="too small"):
        ShardFolder.open(site.address)
    monkeypatch.setenv("HDT_FM_SHARDS_CACHE_GB", "much")
    with pytest.raises(ShardError, match="positive number"):
        cache_of()


def test_the_cache_forgets_the_oldest_and_what_a_dead_process_left(tmp_path):
    import os

    cache = DiskCache(tmp_path / "c", 1000)
    names = [f"{number:064x}.p" for number in range(4)]
    for turn, name in enumerate(names[:3]):
        cache.put(name, bytes(300))
        os.utime(cache.folder / name, (turn, turn))
    assert cache.folder.stat().st_mode & 0o077 == 0
    assert cache.find(names[0])
    stale = cache.folder / f"{names[0]}.1-2.tmp"
    stale.write_bytes(bytes(500))
    os.utime(stale, (0, 0))
    cache.put(names[3], bytes(300))
    assert [bool(cache.find(name)) for name in names] == [True, False, True, True]
    assert not stale.exists()
    with pytest.raises(ValueError), cache.new("../escape", 1):
        pass


def test_threads_wait_for_each_other_instead_of_fetching_twice(site):
    site.faults = lambda path, span: ("hang",) if span else None
    opened = ShardFolder.open(site.address, split="test")
    site.asked.clear()
    opened._shards[0]._held.__init__(limit_bytes=1)
    for path in cache_of().folder.glob("*.p*"):
        path.unlink()
    threads = [threading.Thread(target=opened.gather, args=(np.arange(3),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = [span for _, span, _ in site.asked]
    assert len(spans) == len(set(spans))


def test_a_pickled_folder_reads_in_another_process_and_carries_no_connection(site):
    opened = ShardFolder.open(site.address)
    expected = opened.gather(np.arange(9))
    other = pickle.loads(pickle.dumps(opened))
    same(expected, other.gather(np.arange(9)))
    assert isinstance(place_of(site.address), RemoteFolder)


def test_a_sealed_folder_from_a_server_lies_sealed_in_the_cache_too(folders, site, own_cache, tmp_path, monkeypatch):
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("HDT_FM_RECIPIENTS", str(key.to_public()))
    monkeypatch.setenv("HDT_FM_IDENTITY", str(key))
    rewrite(folders / "none", tmp_path / "sealed")
    site.folder = tmp_path / "sealed"
    same(read_all(folders / "none"), read_all(site.address))
    same(read_all(folders / "none"), read_all(site.address, verify="full"))
    assert ShardFolder.open(site.address).digest == ShardFolder.open(folders / "none").digest
    words = [row.subject.encode() for row in manifest_of(tmp_path / "sealed").subjects] + [b"stress", b"\x93NUMPY"]
    kept = [path.read_bytes() for path in own_cache.rglob("*") if path.is_file()]
    assert kept
    assert not any(word in data for data in kept for word in words)
    # Without an index beside the tars they are walked through, which takes the key as well.
    shutil.rmtree(own_cache)
    for path in (tmp_path / "sealed").rglob("*.idx"):
        path.unlink()
    same(read_all(folders / "none"), read_all(site.address))
    monkeypatch.delenv("HDT_FM_IDENTITY")
    with pytest.raises(ConfigError, match="no key is set to open"):
        ShardFolder.open(site.address)
