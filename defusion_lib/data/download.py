"""Downloads that can be trusted: whole, checked before they are used, and continued where they broke off."""

import itertools
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pooch
import requests
from tqdm.auto import tqdm

TRIES = 5
# A connection that dies takes the chunk that was being filled with it.
CHUNK = 1 << 14
# Seconds to wait for a connection, and for each piece of an answer.
TIMEOUT = (10, 30)


class DownloadError(OSError):
    """A file could not be had from any of its addresses; the message says what each of them did."""


def fetch(
    name: str, addresses: Sequence[str], sha256: str, folder: str | Path, progress: bool = True
) -> Path:
    """Download the file `name` (which may contain subfolders) into `folder` and return its path.

    A file that is there with this SHA-256 is returned without a request. Otherwise the addresses are tried
    in turn; bytes that arrived are kept in `<name>.part` and continued by an HTTP Range request, in this
    call or the next, also from another address. The final name is given only to a file with the right
    SHA-256 (hexadecimal). Raises DownloadError saying what happened at each address, ValueError for a
    `sha256` that is none.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256 or ""):
        raise ValueError(f"{sha256!r} is no SHA-256 of {name}: expected 64 hexadecimal digits, give them")
    final = Path(folder).resolve() / name
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_file() and pooch.file_hash(str(final)) == sha256.lower():
        return final
    download = ResumingDownloader(final.with_name(final.name + ".part"), progress)
    failures = []
    for address in addresses:
        try:
            _retrieve(address, name, sha256, folder, download)
            return final
        except (DownloadError, requests.RequestException) as error:
            failures.append(f"{address} {_what_happened(error)}")
    raise DownloadError(
        f"{name} could not be downloaded: {'; '.join(failures) or 'no address was given'}; expected a file "
        f"with SHA-256 {sha256[:12]}..., so try again later, give another address, or put the file at {final}"
    )


def fetch_archive(
    key: str, addresses: Sequence[str] | None, sha256: str | None, root: str | Path, where: str
) -> Path:
    """Download an archive (zip or tar) of the data set `key`, check it, and unpack it into `root`.

    Addresses and SHA-256 that are not given come from the environment: DEFUSION_<KEY>_ADDRESSES, separated
    by spaces, and DEFUSION_<KEY>_SHA256. The archive is unpacked beside its destination and moved there
    when it is whole. Raises FileNotFoundError with the sentence `where` when there is no address,
    FileExistsError when `root` already holds what the archive brings, ValueError for a missing SHA-256 or a
    file that is no archive, and DownloadError.
    """
    root = Path(root).resolve()
    addresses = addresses_of(key, addresses, where)
    archive = fetch(
        f"{key}.archive", addresses, sha256 or os.environ.get(f"DEFUSION_{key.upper()}_SHA256", ""), root
    )
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as unpacked:
        _unpack(archive, unpacked)
        entries = sorted(Path(unpacked).iterdir())
        existing = [entry.name for entry in entries if (root / entry.name).exists()]
        if existing:
            raise FileExistsError(
                f"{root} already holds {', '.join(existing)}, which {archive.name} brings too: move it away "
                "or name another folder"
            )
        for entry in entries:
            os.replace(entry, root / entry.name)
    archive.unlink()
    return root


def addresses_of(key: str, given: Sequence[str] | None, where: str) -> list[str]:
    """Choose the addresses of the set `key`: those given, else DEFUSION_<KEY>_ADDRESSES (spaces between).

    Raises FileNotFoundError with the sentence `where` when there is none.
    """
    variable = f"DEFUSION_{key.upper()}_ADDRESSES"
    addresses = list(given or os.environ.get(variable, "").split())
    if not addresses:
        raise FileNotFoundError(f"no address to download {key} (set {variable} if you have one): {where}")
    return addresses


class ResumingDownloader:
    """A downloader for pooch that continues a broken download and refuses web pages.

    `part` is the file that keeps what arrived. A call downloads `address` and moves the whole file to
    `output`; raises DownloadError for a web page or an answer that stays incomplete,
    requests.RequestException for connections that fail. pooch checks the SHA-256 of `output` afterwards.
    """

    def __init__(self, part: Path, progress: bool = True):
        self.part = part
        self.progress = progress
        self.resumed = False

    def __call__(self, address: str, output: str, pooch_object) -> None:
        self.resumed = self._size() > 0
        for attempt in range(TRIES):
            before = self._size()
            try:
                self._continue(address)
                break
            except (DownloadError, requests.RequestException):
                # Asking again is worth it only where the last answer brought something.
                if self._size() <= before or attempt == TRIES - 1:
                    raise
        os.replace(self.part, output)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, address: str) -> None:
        have = self._size()
        # A compressed transfer would count other bytes than those of the file.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416 and have:
                self.part.unlink()
                return self._continue(address)
            answer.raise_for_status()
            continues = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if answer.status_code == 206 and not continues:
                raise DownloadError("answered with another range than asked for")
            if answer.status_code != 206:
                have = 0
            length = answer.headers.get("Content-Length")
            total = None if length is None else have + int(length)
            self._receive(answer, have, total)

    def _receive(self, answer: requests.Response, have: int, total: int | None) -> None:
        pieces = self._pieces(answer, total)
        first = next(pieces, b"")
        if "html" in answer.headers.get("Content-Type", "") or (have == 0 and _is_page(first)):
            redirected = f" (redirected to {answer.url})" if answer.history else ""
            raise DownloadError(f"answered with an HTML page{_title(first)} instead of the file{redirected}")
        name = self.part.stem
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=not self.progress)
        with open(self.part, "ab" if have else "wb") as file, bar:
            for piece in itertools.chain([first], pieces):
                file.write(piece)
                file.flush()
                bar.update(len(piece))
        if total is not None and self._size() != total:
            raise DownloadError(f"broke off after {self._size()} of {total} bytes")

    def _pieces(self, answer: requests.Response, total: int | None) -> Iterator[bytes]:
        try:
            yield from answer.iter_content(CHUNK)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise DownloadError(f"broke off after {self._size()} of {total or 'unknown'} bytes") from error


def _retrieve(address: str, name: str, sha256: str, folder: str | Path, download: ResumingDownloader) -> None:
    # pooch announces every file on stderr; the progress bar tells that already.
    pooch.get_logger().setLevel("WARNING")
    for _ in range(2):
        try:
            pooch.retrieve(address, f"sha256:{sha256}", fname=name, path=folder, downloader=download)
            return
        except requests.RequestException:
            raise
        except ValueError as error:
            # The part that was continued may have been another file, which is no fault of this address.
            if not download.resumed:
                raise DownloadError("sent a file with another SHA-256") from error
    raise DownloadError("sent a file with another SHA-256")


def _what_happened(error: Exception) -> str:
    if isinstance(error, DownloadError):
        return str(error)
    if isinstance(error, requests.HTTPError):
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "could not be reached"
    return f"cannot be used ({error})"


def _is_page(start: bytes) -> bool:
    return re.match(rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html)", start, re.IGNORECASE) is not None


def _title(page: bytes) -> str:
    found = re.search(rb"<title[^>]*>\s*(.*?)\s*</title>", page, re.IGNORECASE | re.DOTALL)
    return f' "{found[1].decode("utf-8", "replace")}"' if found else ""


def _unpack(archive: Path, folder: str) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    else:
        raise ValueError(f"{archive} is no archive: expected a zip or a tar file, so give another address")
