"""Downloads of published data sets from their homes, with their published checksums.

A file is written under a temporary name and moved into place once its checksum is right, so whatever lies in the
folder is whole. Files that are there already, from wherever they came, are left alone.
"""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eqviz.errors import EqvizError

if TYPE_CHECKING:
    import logging

    import rich.progress

_TIMEOUT = 30
"""Seconds without an answer after which a server is given up."""

_CHUNK = 2**16
_TAR = (".tar.gz", ".tgz")
_MOST_NAMED = 8


@dataclass(frozen=True)
class Home:
    """Where a data set is published.

    `url` is the address of the folder that holds the files (ending in '/'), `checksums` maps their names to
    'md5:...' or 'sha256:...', `folder` is where they go within the cache. Of a tar archive, the files named in
    `members` are taken, their names there beginning with `prefix`. With `gunzip`, .gz files are unpacked.
    """

    url: str
    folder: str
    checksums: dict[str, str]
    members: tuple[str, ...] = ()
    prefix: str = ""
    gunzip: bool = False

    def gives(self, file: str) -> tuple[str, ...]:
        """What is in the folder once `file` has been downloaded and unpacked.

        >>> HOMES["cifar100"].gives("cifar-100-binary.tar.gz")
        ('train.bin', 'test.bin', 'fine_label_names.txt')
        """
        if file.endswith(_TAR):
            return self.members
        return (file.removesuffix(".gz"),) if self.gunzip else (file,)


HOMES: dict[str, Home] = {
    "mnist": Home(
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        folder="mnist",
        checksums={
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": Home(
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        folder="fashion-mnist",
        checksums={
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": Home(
        url="https://www.cs.toronto.edu/~kriz/",
        folder="cifar-10-batches-bin",
        checksums={"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
        members=(*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin", "batches.meta.txt"),
        prefix="cifar-10-batches-bin/",
    ),
    "cifar100": Home(
        url="https://www.cs.toronto.edu/~kriz/",
        folder="cifar-100-binary",
        checksums={"cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"},
        members=("train.bin", "test.bin", "fine_label_names.txt"),
        prefix="cifar-100-binary/",
    ),
    # as the record at Zenodo has them; the README of the data set has those of test and valid the wrong way round
    "pcam": Home(
        url="https://zenodo.org/records/2546921/files/",
        folder="pcam",
        checksums={
            "camelyonpatch_level_2_split_train_x.h5.gz": "md5:1571f514728f59376b705fc836ff4b63",
            "camelyonpatch_level_2_split_train_y.h5.gz": "md5:35c2d7259d906cfc8143347bb8e05be7",
            "camelyonpatch_level_2_split_test_x.h5.gz": "md5:d8c2d60d490dbd479f8199bdfa0cf6ec",
            "camelyonpatch_level_2_split_test_y.h5.gz": "md5:60a7035772fbdb7f34eb86d4420cf66a",
        },
        gunzip=True,
    ),
    "flowers102": Home(
        url="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        folder="flowers102",
        checksums={
            "102flowers.tgz": "md5:52808999861908f626f3c1f4e79d11fa",
            "imagelabels.mat": "md5:e0620be6f572b9609742df49c70aed4d",
            "setid.mat": "md5:a5357ecc9cb78c4bef273ce3793fc85c",
        },
        members=tuple(f"jpg/image_{number:05d}.jpg" for number in range(1, 8190)),
    ),
}


def fetch(name: str, cache: Path, only: tuple[str, ...] = ()) -> Path:
    """Downloads what is missing of the data set `name` under `cache`, and gives the folder that holds its files.

    With `only`, no other of its files is downloaded.

    Raises EqvizError when a file cannot be had or its checksum is wrong (nothing half-written stays), or when the
    folder cannot be written.

    >>> fetch("mnits", Path("data"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: download: expected one of mnist, fashion-mnist, cifar10, ...; found 'mnits'; ...
    """
    if name not in HOMES:
        raise EqvizError(
            "download", expected=f"one of {', '.join(HOMES)}", found=repr(name), fix="choose one of these names"
        )
    home = HOMES[name]
    folder = cache / home.folder
    files = only or tuple(home.checksums)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            _bring(home, file, folder)
    # requests' errors are OSErrors; pooch reports a wrong checksum by ValueError
    except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:
        wanted = [part for file in files for part in home.gives(file)]
        more = f" and {len(wanted) - _MOST_NAMED} more" if len(wanted) > _MOST_NAMED else ""
        raise EqvizError(
            name, expected=f"a download from {home.url}", found=_reason(error),
            fix=f"try again, or put {', '.join(wanted[:_MOST_NAMED])}{more} into {folder}, or give the folder that "
            "holds them (root=) or the one above it ($EQVIZ_DATA)",
        ) from error  # fmt: skip
    return folder


def _bring(home: Home, file: str, folder: Path) -> None:
    """Downloads one file and unpacks it, unless what it gives is in `folder` already."""
    parts = home.gives(file)
    if all((folder / part).is_file() for part in parts):
        return
    _retrieve(home.url + file, home.checksums[file], folder / file)
    if parts == (file,):
        return
    if file.endswith(_TAR):
        _unpack(folder / file, folder, {f"{home.prefix}{part}": part for part in parts})
    else:
        _gunzip(folder / file, folder / parts[0])
    (folder / file).unlink()


def _retrieve(url: str, checksum: str, target: Path) -> None:
    import pooch

    with _quiet(pooch.get_logger()):
        pooch.retrieve(url, checksum, fname=target.name, path=target.parent, downloader=_download)


def _download(url: str, output: str, _pooch: object) -> None:
    """Writes what is at `url` to the file `output`, with a progress bar on stderr where that is a terminal."""
    import requests

    # the file as it is: a server that sends .gz as an encoding would have it unpacked on the way
    plain = {"Accept-Encoding": "identity"}
    with _progress() as progress, requests.get(url, stream=True, timeout=_TIMEOUT, headers=plain) as response:
        response.raise_for_status()
        size = int(response.headers.get("content-length", 0))
        task = progress.add_task(url.rpartition("/")[2], total=size or None)
        with Path(output).open("wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))


def _progress() -> "rich.progress.Progress":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _unpack(archive: Path, folder: Path, members: dict[str, str]) -> None:
    """Takes regular files out of a tar archive: `members` says which, and where they go within `folder`.

    No path in the archive decides where anything goes.
    """
    with tempfile.TemporaryDirectory(dir=folder) as staging, tarfile.open(archive) as opened:
        for entry in opened:
            member = members.get(entry.name.removeprefix("./"))
            source = opened.extractfile(entry) if member and entry.isreg() else None
            if member and source:
                (Path(staging) / member).parent.mkdir(exist_ok=True)
                with (Path(staging) / member).open("wb") as file:
                    shutil.copyfileobj(source, file)
        for member in members.values():
            (folder / member).parent.mkdir(exist_ok=True)
            (Path(staging) / member).replace(folder / member)


def _gunzip(packed: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as staging:
        whole = Path(staging) / target.name
        with gzip.open(packed) as source, whole.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        whole.replace(target)


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionError) or type(error).__name__ in ("ConnectionError", "ConnectTimeout", "SSLError"):
        return f"no connection ({type(error).__name__})"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def _quiet(logger: "logging.Logger") -> Iterator[None]:
    """Keeps pooch's own messages off the terminal; what goes wrong is raised."""
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
