"""Files that only full unpickling can read, converted to safetensors: the one place that runs what is in a file."""

from pathlib import Path


def convert(path: Path, output: Path | None = None, *, weights: str | None = None) -> Path:
    """Unpickle a file that is trusted, which runs whatever code is in it, and write its weights as safetensors.

    Raises EqvizError for a file that cannot be read and for an output that is there already.
    """
    raise NotImplementedError
