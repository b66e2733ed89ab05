"""Hashes that name the content of files and texts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

INDEX = "_index.json"
"""Of a folder of parts; it holds the hash of each of them. See `birnn.files.parts`."""


def sha256(*paths: str | Path) -> str:
    """Hash the content of files, in the order given, as one stream.

    A folder of parts counts as its index.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(bytes.fromhex(of_bytes(Path(path, INDEX) if Path(path).is_dir() else path)))
    return digest.hexdigest()


def of_bytes(path: str | Path) -> str:
    """Hash the bytes of one file, as `sha256sum` does."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: str | Path) -> str | None:
    """The hash by which DVC names a file or a folder; None where there is neither."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = [{"md5": md5(file), "relpath": str(file.relative_to(path))} for file in files]
        return f"{_md5(json.dumps(names).encode()).hexdigest()}.dir"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def sha256_of_text(text: str) -> str:
    """Hash a text."""
    return hashlib.sha256(text.encode()).hexdigest()
