"""Downloads of published data sets from their homes, with their published checksums.

A file is written under a temporary name and moved into place once its checksum is right, so whatever lies in the
folder is whole. Files that are there already, from wherever they came, are left alone.
"""

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


@dataclass(frozen=True)
class Home:
    """Where a data set is published.

    `url` is the address of the folder that holds the files (ending in '/'), `checksums` maps their names to
    'md5:...' or 'sha256:...', `folder` is where they go within the cache. Of a tar archive, the files named in
    `members` are taken from its folder of the same name as `folder`.
    """

    url: str
    folder: str
    checksums: dict[str, str]
    members: tuple[str, ...] = ()


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
    ),
    "cifar100": Home(
        url="https://www.cs.toronto.edu/~kriz/",
        folder="cifar-100-binary",
        checksums={"cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"},
        members=("train.bin", "test.bin", "fine_label_names.txt"),
    ),
}


def fetch(name: str, cache: Path, only: tuple[str, ...] = ()) -> Path:
    """Downloads what is missing of the data set `name` under `cache`, and gives the folder that holds its files.

    With `only`, no other of its files is downloaded.

    Raises EqvizError when a file cannot be had or its checksum is wrong (nothing half-written stays), or when the
    folder cannot be written.

    >>> fetch("mnits", Path("data"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: download: expected one of mnist, fashion-mnist, cifar10, cifar100; found 'mnits'; ...
    """
    if name not in HOMES:
        raise EqvizError(
            "download", expected=f"one of {', '.join(HOMES)}", found=repr(name), fix="choose one of these names"
        )
    home = HOMES[name]
    folder = cache / home.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, checksum in home.checksums.items():
            if only and file not in only:
                continue
            if home.members:
                _retrieve(home.url + file, checksum, cache / file)
                _unpack(cache / file, folder, home.members)
                (cache / file).unlink(missing_ok=True)
            elif not (folder / file).is_file():
                _retrieve(home.url + file, checksum, folder / file)
    # requests' errors are OSErrors; pooch reports a wrong checksum by ValueError
    except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:
        wanted = ", ".join(home.members or home.checksums)
        raise EqvizError(
            name, expected=f"a download from {home.url}", found=_reason(error),
            fix=f"try again, or put {wanted} into {folder}, or give the folder that holds them (root=) "
            "or the one above it ($EQVIZ_DATA)",
        ) from error  # fmt: skip
    return folder


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


def _unpack(archive: Path, folder: Path, members: tuple[str, ...]) -> None:
    """Takes the regular files `members` out of a tar archive; no path in the archive decides where they go."""
    wanted = {f"{folder.name}/{member}": member for member in members}
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging, tarfile.open(archive) as opened:
        for entry in opened:
            member = wanted.get(entry.name.removeprefix("./"))
            source = opened.extractfile(entry) if member and entry.isreg() else None
            if member and source:
                with (Path(staging) / member).open("wb") as target:
                    shutil.copyfileobj(source, target)
        for member in members:
            (Path(staging) / member).replace(folder / member)


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
