"""What a server of test files serves, and what has come of it."""

import hashlib
import io
import tarfile
from pathlib import Path


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


def archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                opened.addfile(entry)
            else:
                entry.size = len(content)
                opened.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def everything(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())
