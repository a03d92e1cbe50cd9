"""Shards behind an address: ranges over HTTP, the cache, retries, timeouts, and what is said of what is missing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.sharding import shard_data
from ssl_zoo.evaluation.split_shards import Layout
from ssl_zoo.recipe.resolve import resolve
from tests.data.sources.test_shards import number, picture, stream
from tests.tiny import image_source

pytest.importorskip("aiohttp")
NUM = 240


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("remote")
    for i in range(NUM):
        (root / "images" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        (root / "images" / str(i % 2) / f"{i}.png").write_bytes(picture(i))
    shard_data(str(root / "images"), root / "out", modality="image", layout=Layout(shards=4, row_group=10))
    return root / "out"


class Server(ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        asked: the paths and ranges of all requests.
        failures: answers to give before any that is right: a status, or None for one that never comes.
        ranges: whether ranges are served.
    """

    daemon_threads = True
    folder: Path
    asked: list[tuple[str, str | None]]
    failures: list[int | None]
    ranges = True
    stopped: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        if self.server.failures:
            failure = self.server.failures.pop(0)
            if failure is None:
                self.server.stopped.wait(20)
                return
            return self._answer(failure, b"")
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            return self._answer(404, b"")
        data = path.read_bytes()
        if asked is None or not self.server.ranges:
            return self._answer(200, data)
        first, last = asked.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        self._answer(206, part, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def server(shards: Path) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.folder, server.asked, server.failures, server.stopped = shards, [], [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def opened(server: Server, cache: Path | None = None, **options: Any) -> Any:
    options = {"timeout": 20, "retries": 2, **options}
    return image_source("shards", 1, path=address(server), cache=None if cache is None else str(cache), **options)


def test_ranges_are_read_once_and_give_what_the_disk_gives(server: Server, shards: Path, tmp_path: Path) -> None:
    assert resolve(address(server), "image") == {"name": "shards", "path": address(server)}
    local = image_source("shards", 1, path=str(shards)).split("train")
    source = opened(server, tmp_path / "cache")
    split = source.split("train")
    assert [path for path, _ in server.asked] == ["/shards.json", "/trainlabels.npy"]
    assert torch.equal(split.labels, local.labels) and split.fingerprint == local.fingerprint
    there, here = stream(split, 0, 5), stream(local, 0, 5)
    assert there == here
    ranges = server.asked[2:]
    assert len(ranges) == len(set(ranges)) == 24 + 4  # of row groups, and the description at the end of each shard
    assert sum(int(b) - int(a) + 1 for a, b in (asked[6:].split("-") for _, asked in ranges if asked)) < sum(
        file.stat().st_size for file in shards.glob("train-*.parquet")
    )
    again = opened(server, tmp_path / "cache").split("train")
    num = len(server.asked)
    assert stream(again, 0, 5) == here and len(server.asked) == num  # from the cache
    found = [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and not file.name.startswith("lock")]
    assert len(found) == 24 + 4 + 1
    found[0].write_bytes(b"x" * found[0].stat().st_size)  # damaged on this machine's disk
    assert stream(opened(server, tmp_path / "cache").split("train"), 0, 5) == here and len(server.asked) == num + 2


def test_the_cache_keeps_its_size_and_workers_share_it(server: Server, shards: Path, tmp_path: Path) -> None:
    local = image_source("shards", 1, path=str(shards)).split("train")
    size = sum(file.stat().st_size for file in shards.glob("train-*.parquet"))
    small = opened(server, tmp_path / "small", cache_gib=size / 4 / 2**30, streams=1, held=1).split("train")
    for i in range(0, NUM, 5):
        assert number(small.read(i)) == number(local.read(i))
        kept = sum(file.stat().st_size for file in (tmp_path / "small").rglob("*") if file.is_file())
        assert kept <= size / 4
    server.asked.clear()
    split = opened(server, tmp_path / "shared").split("train")
    assert stream(split, 0, 5, num_workers=2) == stream(local, 0, 5)
    ranges = [each for each in server.asked if each[0].endswith(".parquet")]
    assert len(ranges) == len(set(ranges)) == 24 + 4


def test_a_request_that_fails_is_made_again(server: Server) -> None:
    split = opened(server).split("train")
    server.failures = [500, 503]
    assert split.read(0).shape == (1, 2, 2)
    server.failures = [500] * 3
    with pytest.raises(BadSample, match="row group 5 of train-00000.parquet: .*500"):
        split.read(50)


def test_a_server_that_does_not_answer(server: Server) -> None:
    split = opened(server, timeout=0.3, retries=0).split("train")
    server.failures = [None]
    with pytest.raises(BadSample, match="no answer in time"):
        split.read(0)


def test_what_is_missing_is_named(server: Server, shards: Path, tmp_path: Path) -> None:
    server.ranges = False
    with pytest.raises(BadSample, match="does not serve parts of files"):
        opened(server).split("train").read(0)
    server.ranges, server.folder = True, tmp_path
    with pytest.raises(
        UserError, match=r"127.0.0.1:\d+/shards.json, the index of the shards, cannot be read: it is not"
    ):
        opened(server)
    for name in ("shards.json", "trainlabels.npy"):
        (tmp_path / name).write_bytes((shards / name).read_bytes())
    with pytest.raises(BadSample, match="row group 0 of train-00000.parquet: it is not there"):
        opened(server).split("train").read(0)


def test_any_file_system_of_fsspec(shards: Path) -> None:
    memory = fsspec.filesystem("memory")
    for file in shards.iterdir():
        memory.pipe_file(f"/bucket/{file.name}", file.read_bytes())
    split = image_source("shards", 1, path="memory://bucket", cache=None).split("train")
    local = image_source("shards", 1, path=str(shards)).split("train")
    assert all(torch.equal(split.read(i), local.read(i)) for i in range(0, NUM, 7))
    assert split.name(3).startswith("memory://bucket/train-00000.parquet/")


@pytest.mark.parametrize(
    "path, words",
    [
        ("s3://bucket/shards", "s3:// needs a package that is not installed: .*s3fs"),
        ("gs://bucket/shards", "gs:// needs a package that is not installed: .*gcsfs"),
        ("nothing://bucket", "nothing://bucket: cannot be opened: ValueError: Protocol not known: nothing"),
        ("simplecache::https://host/shards", "chains of file systems"),
        (
            "http://127.0.0.1:9/shards",
            "http://127.0.0.1:9/shards/shards.json, the index of the shards, cannot be read: ",
        ),
        ("http://user:secret@127.0.0.1:9/x", "http://127.0.0.1:9/x/shards.json"),
    ],
)
def test_an_address_that_cannot_be_opened(path: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        image_source("shards", 1, path=path, retries=0, cache=None)
    assert "secret" not in str(error.value)
