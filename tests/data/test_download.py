"""Downloads from a local server that truncates, corrupts, sends web pages and dies midway."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pooch
import pytest
from PIL import Image

from defusion_lib.data.download import DownloadError, fetch, fetch_archive
from defusion_lib.data.shi import check_copy, fetch_listed, fetch_shi, write_manifest

CONTENT = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"


class Handler(BaseHTTPRequestHandler):
    """Behaves as the last part of the path says; remembers every request as (path, Range header)."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        first_visit = sum(path == self.path for path, _ in self.server.requests) == 1
        match self.path.rpartition("/")[2]:
            case "works":
                self.send(CONTENT, start)
            case "dies-once":
                self.send(CONTENT, start, stop=HALF if first_visit else None)
            case "dies-always":
                self.send(CONTENT, start, stop=start if start else HALF)
            case "dies-once-without-ranges":
                self.send(CONTENT, 0, stop=HALF if first_visit else None)
            case "truncates-silently":
                self.send(CONTENT[:HALF], 0)
            case "corrupts":
                self.send(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), start)
            case "dies-once-then-corrupts":
                zeros = bytes(len(CONTENT) - HALF)
                self.send(CONTENT[:HALF] + zeros, start, stop=HALF if first_visit else None)
            case "wrong-range":
                self.send(CONTENT, max(start - 5, 0))
            case "redirects":
                self.send_response(302)
                self.send_header("Location", "/page")
                self.end_headers()
            case "page":
                self.send(PAGE, 0, kind="text/html; charset=utf-8")
            case "page-in-disguise":
                self.send(PAGE, 0)
            case "page-of-no-known-beginning":
                self.send(b"<!-- 1 --><title>Sign in</title>", 0, kind="text/html")
            case name if name in self.server.files:
                self.send(self.server.files[name], start)
            case _:
                self.send_error(404)

    def send(self, content, start, stop=None, kind="application/octet-stream"):
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:stop])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.files = [], {}
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def failure(server, folder, *ways):
    """What fetch says when it is sent to these addresses and must fail."""
    with pytest.raises(DownloadError) as error:
        fetch("set.zip", [f"{server.address}/{way}" for way in ways], SHA256, folder, progress=False)
    assert not (folder / "set.zip").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_good_file_is_fetched_once(server, tmp_path, capfd, caplog, monkeypatch):
    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])
    for _ in range(2):
        path = fetch("set.zip", [f"{server.address}/works"], SHA256.upper(), tmp_path)
        assert path == tmp_path / "set.zip"
        assert path.read_bytes() == CONTENT
    assert server.requests == [("/works", None)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.zip"]
    assert "set.zip: 100%" in capfd.readouterr().err
    assert caplog.records == []


@pytest.mark.parametrize(
    "way, says",
    [
        ("truncates-silently", "sent a file with another SHA-256"),
        ("corrupts", "sent a file with another SHA-256"),
        ("redirects", 'answered with an HTML page "Sign in" instead of the file (redirected to http://'),
        ("page", 'answered with an HTML page "Sign in" instead of the file'),
        ("page-in-disguise", 'answered with an HTML page "Sign in" instead of the file'),
        ("page-of-no-known-beginning", 'answered with an HTML page "Sign in" instead of the file'),
        ("absent", "answered 404 Not Found"),
    ],
)
def test_what_is_not_the_file_is_named_and_not_kept(server, tmp_path, way, says):
    message = failure(server, tmp_path, way)
    assert f"set.zip could not be downloaded: {server.address}/{way} {says}" in message
    assert f"SHA-256 {SHA256[:12]}" in message and str(tmp_path / "set.zip") in message
    assert list(tmp_path.iterdir()) == []


def test_a_broken_connection_is_continued_at_once(server, tmp_path):
    assert fetch("set.zip", [f"{server.address}/dies-once"], SHA256, tmp_path).read_bytes() == CONTENT
    (_, none), (_, asked) = server.requests
    assert none is None
    # What was read before the end came may stop one chunk short of what was sent.
    assert HALF - 2**14 <= int(asked.removeprefix("bytes=").removesuffix("-")) <= HALF
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.zip"]


def test_a_later_call_continues_where_an_earlier_one_gave_up(server, tmp_path):
    assert f"of {len(CONTENT)} bytes" in failure(server, tmp_path, "dies-always")
    part = tmp_path / "set.zip.part"
    kept = part.stat().st_size
    assert 0 < kept <= HALF and part.read_bytes() == CONTENT[:kept]
    assert fetch("set.zip", [f"{server.address}/works"], SHA256, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/works", f"bytes={kept}-")
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.zip"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    path = fetch("set.zip", [f"{server.address}/dies-once-without-ranges"], SHA256, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_another_range_than_asked_for_is_not_appended(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(CONTENT[:100])
    assert "another range than asked for" in failure(server, tmp_path, "wrong-range")
    assert (tmp_path / "set.zip.part").read_bytes() == CONTENT[:100]


@pytest.mark.parametrize("part", [b"of another file", CONTENT + b"more", CONTENT])
def test_an_unusable_part_is_dropped(server, tmp_path, part):
    (tmp_path / "set.zip.part").write_bytes(part)
    assert fetch("set.zip", [f"{server.address}/works"], SHA256, tmp_path).read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.zip"]


def test_the_next_address_takes_over(server, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        nobody = f"http://127.0.0.1:{closed.server_port}"
    ways = ["absent", "redirects", "corrupts", "dies-once-then-corrupts", "dies-always", "works"]
    addresses = [nobody, "no address", *(f"{server.address}/{way}" for way in ways)]
    assert fetch("set.zip", addresses, SHA256, tmp_path).read_bytes() == CONTENT
    # The bytes of the address before are continued, not asked for again.
    assert server.requests[-1][0] == "/works" and server.requests[-1][1] is not None


def test_every_address_is_named_when_all_fail(server, tmp_path):
    message = failure(server, tmp_path, "absent", "corrupts", "page")
    for says in ("absent answered 404", "corrupts sent a file", "page answered with an HTML page"):
        assert f"{server.address}/{says}" in message
    with pytest.raises(DownloadError, match="no address was given"):
        fetch("set.zip", [], SHA256, tmp_path)


def test_a_wrong_file_under_the_final_name_is_replaced_only_by_the_right_one(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(b"old")
    with pytest.raises(DownloadError):
        fetch("set.zip", [f"{server.address}/corrupts"], SHA256, tmp_path)
    assert (tmp_path / "set.zip").read_bytes() == b"old"
    assert fetch("set.zip", [f"{server.address}/works"], SHA256, tmp_path).read_bytes() == CONTENT


def test_nothing_is_fetched_without_a_hash(server, tmp_path):
    for wrong in ("", "abc", None):
        with pytest.raises(ValueError, match="expected 64 hexadecimal digits"):
            fetch("set.zip", [f"{server.address}/works"], wrong, tmp_path)
    assert server.requests == []


def zipped(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return buffer.getvalue()


def tarred(names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_is_unpacked_whole(server, tmp_path, monkeypatch, pack):
    server.files["archive"] = content = pack(["images/1.jpg", "masks/1.png"])
    monkeypatch.setenv("DEFUSION_DUT_ADDRESSES", f"{server.address}/absent {server.address}/archive")
    monkeypatch.setenv("DEFUSION_DUT_SHA256", hashlib.sha256(content).hexdigest())
    root = fetch_archive("dut", None, None, tmp_path / "dut", "nowhere")
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == [
        "images/1.jpg",
        "masks/1.png",
    ]
    with pytest.raises(FileExistsError, match="already holds images, masks, which dut.archive brings too"):
        fetch_archive("dut", None, None, tmp_path / "dut", "nowhere")


def test_an_archive_needs_an_address_a_hash_and_a_format(server, tmp_path, monkeypatch):
    monkeypatch.delenv("DEFUSION_DUT_ADDRESSES", raising=False)
    monkeypatch.delenv("DEFUSION_DUT_SHA256", raising=False)
    with pytest.raises(FileNotFoundError, match="set DEFUSION_DUT_ADDRESSES if you have one.*: ask for it"):
        fetch_archive("dut", None, None, tmp_path, "ask for it")
    with pytest.raises(ValueError, match="expected 64 hexadecimal digits"):
        fetch_archive("dut", [f"{server.address}/works"], None, tmp_path, "ask for it")
    with pytest.raises(ValueError, match="is no archive: expected a zip or a tar file"):
        fetch_archive("dut", [f"{server.address}/works"], SHA256, tmp_path, "ask for it")


def test_photographs_come_one_by_one_from_a_mirror(server, tmp_path, monkeypatch):
    source, wanted = tmp_path / "source", tmp_path / "wanted"
    (source / "images").mkdir(parents=True)
    (source / "masks").mkdir()
    stems = ["out_of_focus0001", "out_of_focus0002"]
    for level, stem in enumerate(stems, start=1):
        Image.new("RGB", (8, 6), (level, 0, 0)).save(source / f"images/{stem}.jpg")
        Image.new("L", (8, 6), 255).save(source / f"masks/{stem}.png")
    for path in source.rglob("out_of_focus*"):
        server.files[path.name] = path.read_bytes()
    manifest = write_manifest(source, tmp_path / "manifest.json")
    fetch_listed(wanted, [f"{server.address}/mirror/"], manifest)
    check_copy(wanted, stems, manifest)
    server.requests.clear()
    fetch_listed(wanted, [f"{server.address}/mirror"], manifest)
    assert server.requests == []
    monkeypatch.delenv("DEFUSION_SHI_ADDRESSES", raising=False)
    with pytest.raises(FileNotFoundError, match=r"set DEFUSION_SHI_ADDRESSES.*www\.cse\.cuhk\.edu\.hk"):
        fetch_shi(wanted)
