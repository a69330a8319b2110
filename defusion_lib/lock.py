"""Keep a second run out of a folder that one writes in.

The lock is that of the operating system (flock), so it ends with its process, however that ends. Systems and file
systems without it have no lock.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from defusion_lib.paths import display_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 0.5  # seconds: the last one of shared locks holds the lock alone while it ends


@contextlib.contextmanager
def locked(into: Path, stem: str, shared: bool = False) -> Iterator[None]:
    """Hold the lock `stem` of a folder; shared locks exclude only one that is not shared.

    Raises BlockingIOError with one sentence if another run holds it.
    """
    path = into / f".{stem}.lock"
    file = _acquire(path, shared) if fcntl else None
    try:
        yield
    finally:
        if file:
            _release(path, file)


def _acquire(path: Path, shared: bool) -> IO[str] | None:
    until = time.monotonic() + (PATIENCE if shared else 0)
    while True:
        file = open(path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < until:
                file.close()
                time.sleep(PATIENCE / 20)
                continue
            file.seek(0)
            owner = file.read().strip() or "another run"
            file.close()
            raise BlockingIOError(
                f"{display_path(path.parent)} is in use by {owner}: wait until it ends, or choose another folder."
            ) from error
        except OSError:  # a file system without locks
            file.close()
            return None
        # Another run may have removed the file before it was locked here.
        if _is_at(path, file):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M')}")
            file.flush()
            return file
        file.close()


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _release(path: Path, file: IO[str]) -> None:
    with file, contextlib.suppress(OSError):
        # Only the last one of shared locks may remove the file.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
