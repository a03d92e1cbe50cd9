"""The state of an installation and of its machine: what `ssl-zoo doctor` prints."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ssl_zoo.data.memory import free_bytes
from ssl_zoo.errors import UserError
from ssl_zoo.hardware import choose, cpu_name
from ssl_zoo.runs.atomic import check_place

FOR_DEVELOPERS = ("dev", "docs", "bench")
"""Extras that the use of the package does not need."""


def doctor(out: str | Path = "runs", data: str | Path | None = None) -> dict[str, Any]:
    """Look at versions, devices, memory, optional packages and folders.

    Args:
        out: the folder of runs, which has to be writable.
        data: a folder or file of data, which has to be readable; None looks at none.

    Returns:
        `versions` of Python and of what is needed; `machine` (`devices`, `cores`, `threads`, `free_memory_bytes`,
        `precision`); `optional`, `{extra: {"missing": [packages], "install": command}}`; `ffmpeg`, its path or None;
        `folders`, `{path: "ok" or what is wrong}`; and `problems`, sentences on what has to be mended, none where all
        is well.
    """
    import torch

    needed, optional = _requirements()
    problems = [problem for line in needed if (problem := _problem(line))]
    folders = {str(out): _writable(Path(out))}
    if data is not None:
        folders[str(data)] = _readable(Path(data))
    problems += [f"{path}: {state}." for path, state in folders.items() if state != "ok"]
    hardware = choose(for_training=False)
    return {
        "versions": {"python": platform.python_version(), "ssl_zoo": version("ssl_zoo"),
                     **{_name(line): _version(_name(line)) or "missing" for line in needed}},
        "machine": {
            "devices": _devices(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            "threads": torch.get_num_threads(),
            "free_memory_bytes": free_bytes(),
            "precision": hardware.precision,
        },
        "optional": optional,
        "ffmpeg": shutil.which("ffmpeg"),
        "folders": folders,
        "problems": problems,
    }  # fmt: skip


def _requirements() -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return the requirements of the package, and of its extras what is missing."""
    from packaging.requirements import Requirement

    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in requires("ssl_zoo") or ():
        parsed = Requirement(line)
        extra = str(parsed.marker).partition('extra == "')[2].partition('"')[0] if parsed.marker else ""
        if extra:
            extras.setdefault(extra, []).append(line)
        else:
            needed.append(line)
    found = {}
    for extra, lines in extras.items():
        if extra in FOR_DEVELOPERS:
            continue
        missing = [_name(line) for line in lines if _version(_name(line)) is None]
        found[extra] = {"missing": missing, "install": f"pip install 'ssl_zoo[{extra}]'"}
    return needed, found


def _name(line: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(line).name


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _problem(line: str) -> str:
    """Return what is wrong with a required package; empty if nothing."""
    from packaging.requirements import Requirement

    parsed, found = Requirement(line), _version(_name(line))
    asked = f"{parsed.name}{parsed.specifier}"
    if found is None:
        return f"{parsed.name} is not installed: pip install '{asked}'"
    if not parsed.specifier.contains(found.partition("+")[0], prereleases=True):
        return f"{parsed.name} {found} is installed, and {asked} is needed: pip install '{asked}'"
    return ""


def _devices() -> list[dict[str, Any]]:
    """Return the devices that torch can compute on, the processor last."""
    import torch

    found: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append({"kind": "cuda", "name": name, "memory_bytes": total, "free_bytes": free})
    if torch.backends.mps.is_available():
        found.append({"kind": "mps", "name": "Apple GPU"})
    return [*found, {"kind": "cpu", "name": cpu_name()}]


def _writable(path: Path) -> str:
    try:
        check_place(path, "--out", folder=True)
    except UserError as error:
        return str(error).partition(": ")[2].rstrip(".")
    return "ok"


def _readable(path: Path) -> str:
    if not path.exists():
        return "there is no such file or folder"
    return "ok" if os.access(path, os.R_OK) else "cannot be read"


def lines(found: dict[str, Any]) -> list[str]:
    """Return the lines that are printed of what `doctor` returned."""
    machine, versions = found["machine"], dict(found["versions"])
    text = [f"ssl_zoo {versions.pop('ssl_zoo')}, Python {versions.pop('python')}"]
    text += ["  " + ", ".join(f"{name} {number}" for name, number in versions.items()), ""]
    for device in machine["devices"]:
        free = (
            f", {_gib(device['free_bytes'])} of {_gib(device['memory_bytes'])} free" if "free_bytes" in device else ""
        )
        text.append(f"{device['kind']}: {device['name']}{free}")
    text.append(
        f"{machine['cores']} cores, torch uses {machine['threads']} threads; {_gib(machine['free_memory_bytes'])} of "
        f"memory free; training.precision=auto is {machine['precision']}"
    )
    text.append("")
    for extra, each in found["optional"].items():
        state = f"missing {', '.join(each['missing'])}: {each['install']}" if each["missing"] else "installed"
        text.append(f"optional {extra}: {state}")
    text.append(f"ffmpeg: {found['ffmpeg'] or 'not on the PATH (torchcodec needs it for videos; PyAV has it inside)'}")
    text += [f"folder {path}: {state}" for path, state in found["folders"].items()]
    problems = found["problems"]
    return [*text, "", *(f"problem: {each}" for each in problems)] if problems else [*text, "", "all is well"]


def _gib(num: float) -> str:
    return f"{num / 2**30:.1f} GiB"
