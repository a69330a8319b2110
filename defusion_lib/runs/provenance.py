"""Describe where results come from: commit, versions, machine, photos."""

import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from defusion_lib.paths import display_path, project_root

PACKAGES = ("torch", "torchvision", "numpy", "defusion-lib")  # whose versions are in every stamp


def to_json(value):
    """`value` for a stamp: absolute paths shortened, paths as text, tuples as lists."""
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path) or isinstance(value, str) and Path(value).is_absolute():
        return display_path(value) if Path(value).is_absolute() else Path(value).as_posix()
    return value


def environment_info(cuda: bool = False, packages: tuple[str, ...] = PACKAGES) -> dict:
    """Return the part of a stamp that needs no notebook: commit, versions, processor (or GPU), torch's threads."""
    import torch

    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "device": torch.cuda.get_device_name() if cuda else _processor(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """Return the checkout's commit, with "-dirty" where anything but outputs differs; None without git."""
    root = project_root()
    if not (root / ".git").exists():
        return None

    def git(*arguments):
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--", ".", ":!outputs")
        return git("rev-parse", "HEAD").strip() + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()
