import gzip
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from trompe.core.errors import UserError
from trompe.data import fetch, listing, load, verify
from trompe.data.digits import CHECKSUMS, digits


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`, Range included, and may break off after `server.limit` bytes."""

    def do_GET(self):
        server = self.server
        data = server.files.get(self.path)
        server.asked.append((self.path, self.headers.get("Range")))
        if data is None:
            self.send_error(404)
            return
        start = 0
        if server.ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: server.limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tiny):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.files = {f"/m/{name}.gz": gzip.compress(data) for name, data in tiny.items()}
    server.asked, server.limit, server.ranges = [], None, True
    server.url = f"http://127.0.0.1:{server.server_port}/m/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetching_gives_a_set_that_loads(mirror, tmp_path):
    seen = []
    paths = fetch("tiny", tmp_path, mirror.url, lambda *step: seen.append(step))
    assert len(load("tiny", "train", tmp_path)) == 30
    assert names(tmp_path / "tiny") == sorted(path.name for path in paths)
    assert {state for _, state in verify("tiny", tmp_path)} == {"ok"}
    assert {name for name, *_ in seen} == {path.name for path in paths}
    assert all(done == total for _, done, total in seen)


def test_what_is_whole_is_not_fetched_again(mirror, tmp_path):
    fetch("tiny", tmp_path, mirror.url)
    (tmp_path / "tiny" / "test-images.gz").write_bytes(b"spoilt")
    mirror.asked.clear()
    fetch("tiny", tmp_path, mirror.url)
    assert mirror.asked == [("/m/test-images.gz", None)]
    assert {state for _, state in verify("tiny", tmp_path)} == {"ok"}


def test_a_broken_download_is_resumed_where_it_broke_off(mirror, tmp_path):
    mirror.limit = 100
    with pytest.raises(UserError, match=r"broke off after 100 of .* resume"):
        fetch("tiny", tmp_path, mirror.url)
    assert names(tmp_path / "tiny") == ["train-images.gz.part"]
    assert verify("tiny", tmp_path)[0].state == "missing (100 bytes fetched)"
    mirror.limit = None
    fetch("tiny", tmp_path, mirror.url)
    assert ("/m/train-images.gz", "bytes=100-") in mirror.asked
    assert len(load("tiny", "train", tmp_path)) == 30


def test_a_server_without_ranges_starts_afresh(mirror, tmp_path):
    mirror.ranges = False
    part = tmp_path / "tiny" / "train-images.gz.part"
    part.parent.mkdir()
    part.write_bytes(mirror.files["/m/train-images.gz"][:50])
    fetch("tiny", tmp_path, mirror.url)
    assert len(load("tiny", "train", tmp_path)) == 30


def test_a_whole_part_only_gets_its_name(mirror, tmp_path):
    part = tmp_path / "tiny" / "train-images.gz.part"
    part.parent.mkdir()
    part.write_bytes(mirror.files["/m/train-images.gz"])
    fetch("tiny", tmp_path, mirror.url)
    assert [path for path, _ in mirror.asked].count("/m/train-images.gz") == 1
    assert not part.exists()


def test_a_stale_part_is_thrown_away_and_fetched_whole(mirror, tmp_path):
    part = tmp_path / "tiny" / "train-images.gz.part"
    part.parent.mkdir()
    part.write_bytes(b"of another file")
    fetch("tiny", tmp_path, mirror.url)
    assert [asked for path, asked in mirror.asked if "train-images" in path] == ["bytes=15-", None]
    assert len(load("tiny", "train", tmp_path)) == 30


@pytest.mark.parametrize(
    "answer", [b"<html>please log in</html>", gzip.compress(b"other", mtime=0)]
)
def test_other_content_is_refused_and_nothing_is_left(mirror, tmp_path, answer):
    mirror.files["/m/train-images.gz"] = answer
    with pytest.raises(UserError, match="is not the published train-images"):
        fetch("tiny", tmp_path, mirror.url)
    assert names(tmp_path / "tiny") == []


def test_a_missing_file_on_the_mirror_is_told(mirror, tmp_path):
    del mirror.files["/m/train-images.gz"]
    with pytest.raises(UserError, match="answered 404"):
        fetch("tiny", tmp_path, mirror.url)


def test_without_a_connection_the_message_says_what_to_do(tiny, tmp_path):
    with pytest.raises(UserError, match=r"could not fetch .*127\.0\.0\.1:9.* copy the file to"):
        fetch("tiny", tmp_path)


def test_a_connection_lost_on_the_way_is_told(mirror, tmp_path, monkeypatch):
    def lose(self, amount=-1):
        raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr("http.client.HTTPResponse.read", lose)
    with pytest.raises(UserError, match=r"reset by peer.* to resume"):
        fetch("tiny", tmp_path, mirror.url)


def test_a_place_that_cannot_be_written_is_told(mirror, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not write"):
        fetch("tiny", tmp_path / "file", mirror.url)
    blocked = tmp_path / "tiny" / "train-images.gz.part"
    blocked.parent.mkdir()
    blocked.symlink_to("/dev/full")
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full to write to")
    with pytest.raises(UserError, match="No space left"):
        fetch("tiny", tmp_path, mirror.url)


def test_names_and_addresses_are_checked(tmp_path):
    assert fetch("digits", tmp_path) == []
    with pytest.raises(UserError, match="cannot fetch 'celeba'"):
        fetch("celeba", tmp_path)
    with pytest.raises(UserError, match="http://"):
        fetch("mnist", tmp_path, "ftp://mirror.example")


def test_verify_names_each_kind_of_damage(tiny, tiny_root):
    folder = tiny_root / "tiny"
    (folder / "train-images.gz").unlink()
    (folder / "train-labels.gz").write_bytes(gzip.compress(tiny["train-labels"])[:-9])
    (folder / "test-images").write_bytes(tiny["test-images"][:-1])
    changed = tiny["test-labels"][:-1] + b"\1"
    (folder / "test-labels").write_bytes(changed)
    states = [state for _, state in verify("tiny", tiny_root)]
    assert states[0] == "missing"
    assert "truncated" in states[1]
    assert "truncated" in states[2]
    assert states[3] == "differs from what was published"


def test_verify_reads_a_users_own_source(tmp_path):
    np.savez(tmp_path / "good.npz", x=np.zeros((2, 4, 4)), y=[0, 1])
    np.savez(tmp_path / "bad.npz", x=np.full((2, 4, 4), np.nan))
    assert verify(tmp_path / "good.npz")[0].state == "ok"
    assert "NaN" in verify(str(tmp_path / "bad.npz"))[0].state


def test_other_digits_are_noticed(monkeypatch):
    monkeypatch.setitem(CHECKSUMS, "test", "0" * 64)
    assert verify("digits")[0].state.startswith("differs")


def test_the_listing_says_what_is_at_hand(tiny_root):
    rows = {row.name: row for row in listing(tiny_root)}
    assert rows["digits"].state == "embedded"
    assert rows["tiny"].state == "present"
    assert rows["mnist"].state == "missing"
    assert (rows["tiny"].shape, rows["tiny"].train, rows["tiny"].test) == ((1, 5, 4), 30, 12)
    Path(rows["tiny"].place, "test-images").unlink()
    assert {row.name: row for row in listing(tiny_root)}["tiny"].state == "incomplete"


def test_the_listed_digits_are_the_real_ones():
    row, train, test = listing()[0], digits("train"), digits("test")
    assert (row.shape, row.train, row.test) == (train.shape, len(train), len(test))
    assert row.classes == len(train.classes)


def test_svhn_is_fetched_under_its_publishers_names(mirror, svhn_root, tmp_path):
    held = {path.name: path.read_bytes() for path in (svhn_root / "svhn").iterdir()}
    mirror.files = {f"/m/{name}": data for name, data in held.items()}
    paths = fetch("svhn", tmp_path / "new", mirror.url)
    assert sorted(path.name for path in paths) == ["test_32x32.mat", "train_32x32.mat"]
    assert (
        load("svhn", "test", tmp_path / "new").checksum == load("svhn", "test", svhn_root).checksum
    )
