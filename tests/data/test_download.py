from dataclasses import replace

import numpy as np
import pytest

from eqviz.data import download
from eqviz.data.cifar import load_cifar10
from eqviz.data.idx import load_mnist
from eqviz.data.locate import cache_folder
from eqviz.data.registry import DATASETS
from eqviz.errors import EqvizError
from tests.data.serving import archive, everything, md5, sha256

IDX_IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 255, 255, 0])
IDX_LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 1, 7])


@pytest.fixture
def mnist(home, monkeypatch):
    folder, url, _ = home
    files = {file: IDX_IMAGES if "images" in file else IDX_LABELS for file in download.HOMES["mnist"].checksums}
    for file, content in files.items():
        (folder / file).write_bytes(content)
    checksums = {file: md5(content) for file, content in files.items()}
    monkeypatch.setitem(download.HOMES, "mnist", replace(download.HOMES["mnist"], url=url, checksums=checksums))
    return home


def test_what_is_not_there_is_downloaded_once(mnist, tmp_path):
    _, _, asked = mnist
    data = load_mnist("train")
    assert (data.labels.tolist(), data.images.ravel().tolist()) == ([7], [0, 1, 1, 0])
    assert everything(tmp_path / "cache" / "mnist") == sorted(download.HOMES["mnist"].checksums)
    assert len(asked) == 4
    load_mnist("test")
    assert len(asked) == 4


def test_files_that_are_there_are_left_alone(mnist, tmp_path):
    _, _, asked = mnist
    (tmp_path / "cache" / "mnist").mkdir(parents=True)
    own = tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    own.write_bytes(IDX_LABELS[:-1] + b"\x03")
    assert load_mnist("test").labels.tolist() == [3]
    assert not any("t10k-labels" in path for path in asked)


def test_a_root_is_never_downloaded_into(mnist, tmp_path):
    with pytest.raises(EqvizError, match="root"):
        load_mnist("test", tmp_path / "empty")
    assert not mnist[2]
    assert not (tmp_path / "empty").exists()


def check_failure(raised, cache):
    message = str(raised.value)
    assert "\n" not in message
    assert str(cache) in message
    assert "root=" in message
    assert "EQVIZ_DATA" in message


def test_a_wrong_checksum_leaves_nothing(mnist, tmp_path):
    (mnist[0] / "train-images-idx3-ubyte.gz").write_bytes(IDX_IMAGES[:-1] + b"\x01")
    with pytest.raises(EqvizError, match="hash") as raised:
        load_mnist("train")
    check_failure(raised, tmp_path / "cache" / "mnist")
    assert everything(tmp_path / "cache") == []


def test_a_missing_file_keeps_what_came_before_it(mnist, tmp_path):
    (mnist[0] / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(EqvizError, match="404") as raised:
        load_mnist("train")
    check_failure(raised, tmp_path / "cache" / "mnist")
    assert everything(tmp_path / "cache") == ["train-images-idx3-ubyte.gz"]


def test_a_server_that_does_not_answer(mnist, tmp_path, monkeypatch):
    closed = replace(download.HOMES["mnist"], url="http://127.0.0.1:9/")
    monkeypatch.setitem(download.HOMES, "mnist", closed)
    with pytest.raises(EqvizError, match=r"127\.0\.0\.1.*no connection") as raised:
        load_mnist("test")
    check_failure(raised, tmp_path / "cache" / "mnist")
    assert everything(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written(mnist, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(EqvizError, match="EQVIZ_DATA"):
        load_mnist("test")


def serve_cifar10(home, monkeypatch, members):
    folder, url, _ = home
    content = archive(members)
    (folder / "cifar-10-binary.tar.gz").write_bytes(content)
    monkeypatch.setitem(
        download.HOMES,
        "cifar10",
        replace(download.HOMES["cifar10"], url=url, checksums={"cifar-10-binary.tar.gz": sha256(content)}),
    )


def cifar_members():
    names = download.HOMES["cifar10"].members
    members = {f"cifar-10-batches-bin/{name}": bytes([4]) + bytes([255]) * 3072 for name in names}
    members["cifar-10-batches-bin/batches.meta.txt"] = b"\n".join(b"class %d" % number for number in range(10))
    return members


def test_only_the_named_members_leave_an_archive(home, monkeypatch, tmp_path):
    strange = {"../evil.bin": b"x", "/evil.bin": b"x", "cifar-10-batches-bin/../../evil.bin": b"x", "readme.html": b"x"}
    serve_cifar10(home, monkeypatch, {**strange, **cifar_members()})
    data = load_cifar10("train")
    assert (len(data), data.labels[0], data.classes[4], data.images.min()) == (5, 4, "class 4", 1)
    assert everything(tmp_path / "cache") == sorted(download.HOMES["cifar10"].members)
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("how", ["missing", "link"])
def test_an_archive_without_a_member_is_one_line(home, monkeypatch, tmp_path, how):
    members = cifar_members()
    del members["cifar-10-batches-bin/test_batch.bin"]
    if how == "link":
        members["cifar-10-batches-bin/test_batch.bin"] = "/etc/passwd"
    serve_cifar10(home, monkeypatch, members)
    with pytest.raises(EqvizError, match=r"test_batch\.bin") as raised:
        load_cifar10("test")
    check_failure(raised, tmp_path / "cache" / "cifar-10-batches-bin")
    assert "test_batch.bin" not in everything(tmp_path / "cache")


def test_a_broken_archive_with_the_right_checksum(home, monkeypatch, tmp_path):
    content = archive({"a": np.random.default_rng(0).bytes(5000)})[:-2000]
    (home[0] / "cifar-10-binary.tar.gz").write_bytes(content)
    broken = replace(download.HOMES["cifar10"], url=home[1], checksums={"cifar-10-binary.tar.gz": sha256(content)})
    monkeypatch.setitem(download.HOMES, "cifar10", broken)
    with pytest.raises(EqvizError) as raised:
        load_cifar10("test")
    check_failure(raised, tmp_path / "cache")


def test_every_home_is_a_data_set_with_published_checksums():
    assert set(download.HOMES) <= set(DATASETS)
    for home in download.HOMES.values():
        assert home.url.endswith("/")
        assert all(checksum.startswith(("md5:", "sha256:")) for checksum in home.checksums.values())


def test_progress_is_shown_on_a_terminal_only(mnist, monkeypatch, capsys):
    load_mnist("test")
    assert capsys.readouterr() == ("", "")
    for path in cache_folder().rglob("*.gz"):
        path.unlink()
    monkeypatch.setenv("FORCE_COLOR", "1")
    load_mnist("test")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "t10k-images-idx3-ubyte.gz" in shown.err


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("EQVIZ_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("EQVIZ_DATA")
    assert cache_folder().name == "eqviz"
