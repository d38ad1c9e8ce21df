"""The push against a stand-in hub on this machine, through huggingface_hub's own endpoint setting."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.report.publish import push_to_hub
from hdt_fm.schema.errors import PublishError


class Hub(ThreadingHTTPServer):
    """Answers the few calls of a push and keeps what was committed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.calls: list[str] = []
        self.tokens: set[str | None] = set()
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.refuses = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self.server.calls.append(f"GET {self.path}")
        self._answer(
            {"id": "lab/model", "sha": "a" * 40, "siblings": [], "private": True} if "tree" not in self.path else []
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        self.server.calls.append(f"POST {path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.refuses:
            self._answer({"error": "no"}, status=403)
        elif path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self._answer({"url": f"{self.server.address}/lab/model"})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._answer(
                {"commitUrl": f"{self.server.address}/lab/model/commit/abc", "commitOid": "abc", "success": True}
            )
        else:
            self._answer({"error": path}, status=404)

    def _answer(self, value: Any, *, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_file_arrives_whole(published: Path, hub: Hub) -> None:
    push = push_to_hub(published, "lab/model", token="hf_stand_in", endpoint=hub.address)
    assert push.url == f"{hub.address}/lab/model/commit/abc"
    assert hub.files.keys() == {path.name for path in published.iterdir()} == {name for name, _ in push.files}
    for path in published.iterdir():
        assert hashlib.sha256(hub.files[path.name]).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert hub.tokens == {"Bearer hf_stand_in"}
    (created,) = hub.created
    assert created["name"] == "model"
    assert created["organization"] == "lab"
    assert created.get("private") is True or created.get("visibility") == "private"


def test_a_dry_run_sends_nothing(published: Path, hub: Hub) -> None:
    push = push_to_hub(published, "lab/model", endpoint=hub.address, dry_run=True)
    assert hub.calls == []
    assert push.url == ""
    assert dict(push.files)["model.safetensors"] == (published / "model.safetensors").stat().st_size


def test_a_folder_with_problems_is_not_sent(published: Path, hub: Hub) -> None:
    (published / "LICENSE").unlink()
    with pytest.raises(PublishError, match="missing: LICENSE"):
        push_to_hub(published, "lab/model", endpoint=hub.address)
    assert hub.calls == []


def test_a_refusing_hub_and_a_bad_name_speak(published: Path, hub: Hub) -> None:
    with pytest.raises(PublishError, match="owner/name"):
        push_to_hub(published, "lab/mo del", endpoint=hub.address)
    assert hub.calls == []
    hub.refuses = True
    with pytest.raises(PublishError, match="did not take"):
        push_to_hub(published, "lab/model", token="hf_stand_in", endpoint=hub.address)
    assert hub.files == {}


def test_the_librarys_own_endpoint_setting_is_kept_and_a_signature_goes_along(
    published: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As HF_ENDPOINT sets it when the library is imported."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    (published / "model.sig").write_text("{}")
    push_to_hub(published, "lab/model", token="hf_stand_in")
    assert hub.files["model.sig"] == b"{}"
    assert "croissant.json" in hub.files
