"""Where the files of a published data set lie: in the user's folder, in the cache, or still at their home."""

import os
from collections.abc import Callable
from pathlib import Path

from eqviz.data import download
from eqviz.errors import EqvizError


def cache_folder() -> Path:
    """The folder of downloaded data: `$EQVIZ_DATA` where it is set, else the system's cache folder for eqviz.

    >>> cache_folder().is_absolute()
    True
    """
    chosen = os.environ.get("EQVIZ_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("eqviz"))


def locate(
    name: str,
    root: Path | None,
    subfolders: tuple[str, ...],
    missing: Callable[[Path], list[str]],
    *,
    files: tuple[str, ...] = (),
    advice: str = "put them there, or leave out root to download them",
) -> Path:
    """The folder that holds the files of the data set `name`.

    With a `root`, the files are in one of its `subfolders` or in `root` itself, and nothing is downloaded; without,
    they are in the cache, and what is not there is downloaded if the data set has a home (only `files`, if given).
    `missing` lists the files that a folder lacks. Raises EqvizError, with `advice`, when some are missing and nothing
    may be downloaded, or when the download fails.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> locate("mnist", folder, ("mnist",), lambda place: []) == folder / "mnist"
    True
    """
    base = cache_folder() if root is None else Path(root).expanduser()
    places = [base / subfolder for subfolder in subfolders]
    if root is not None:
        places.append(base)
    for place in places:
        if not missing(place):
            return place
    if root is None and name in download.HOMES:
        return download.fetch(name, base, files)
    where = f"{places[0]}, or a folder that holds them (root=)" if root is None else f"{base} or {places[0]}"
    raise EqvizError(
        name, expected=f"its files in {where}", found=f"no {', '.join(_nearest(places, missing))}", fix=advice
    )


def _nearest(places: list[Path], missing: Callable[[Path], list[str]]) -> list[str]:
    """What lacks in the place that lacks the least."""
    return min((missing(place) for place in places), key=len)
