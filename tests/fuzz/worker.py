"""Feeds mutated inputs to a reader, in a process of its own: `python -m tests.fuzz.worker READER FOLDER SEED NUM`.

Prints JSON: how many inputs were refused in one sentence, how many were read, and the faults: another exception than a
`UserError`, a warning, 10 seconds, a gibibyte, a file written outside the folder, or a program started.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

SECONDS, MEMORY = 10, 2**30


class Forbidden(BaseException):
    """What no input may bring about; no reader catches it."""


def _watch(folder: Path) -> None:
    allowed = (str(folder), "/dev/null")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"):
            raise Forbidden(f"{event} {arguments[0]!r}")
        if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            if not os.path.abspath(arguments[0]).startswith(allowed):
                raise Forbidden(f"wrote {arguments[0]}")

    sys.addaudithook(hook)


def _late(number: int, frame: Any) -> None:
    raise Forbidden(f"took more than {SECONDS} s")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(name: str, folder: Path, seed: int, num: int) -> dict[str, Any]:
    from ssl_zoo.errors import UserError
    from tests.fuzz.readers import READERS

    reader = READERS[name]
    sound = reader.prepare(folder)
    for file, data in sound.items():  # what is sound is read; it also loads every module that is needed
        (folder / file).write_bytes(data)
        reader.read(folder / file)
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, _late)
    _watch(folder)
    before = _peak()
    read, refused, faults = 0, 0, []
    for number, (file, data) in enumerate(reader.inputs(sound, seed, num)):
        path = folder / file
        path.write_bytes(data)
        signal.alarm(SECONDS)
        try:
            reader.read(path)
            read += 1
        except UserError as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) > 1000:
                faults.append(f"{number} {file}: not one sentence: {str(error)[:300]!r}")
        except BaseException as error:  # noqa: B036 - what must not happen is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(
                f"{number} {file}: {type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})"
            )
        finally:
            signal.alarm(0)
            path.write_bytes(sound[file])
        if _peak() - before > MEMORY:
            faults.append(f"{number} {file}: {(_peak() - before) / 2**30:.1f} GiB")
            before = _peak()
    return {"read": read, "refused": refused, "faults": faults}


if __name__ == "__main__":
    name, folder, seed, num = sys.argv[1:]
    print(json.dumps(main(name, Path(folder), int(seed), int(num))))
