"""`summary.json`: its schema, and reading it with a check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_zoo.errors import UserError

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class _Collapse(_Part):
    status: str
    reason: str | None
    step: Annotated[int, Field(strict=True)] | None
    metrics: dict[str, Number | None]


class _Environment(_Part):
    hardware: str
    precision: str
    memory_format: str
    python: str
    ssl_zoo: str
    torch: str
    torchvision: str


class _Summary(_Part):
    status: Literal["done", "collapsed", "failed", "interrupted"]
    method: str
    seed: Annotated[int, Field(strict=True)]
    steps: Annotated[int, Field(strict=True)]
    epochs: Number
    train_s: Number
    samples_per_s: Number
    collapse: _Collapse
    metrics: dict[str, dict[str, Number | None]]
    baselines: dict[str, dict[str, dict[str, Number | None]]]
    protocol_versions: dict[str, Annotated[int, Field(strict=True)]] = {}
    environment: _Environment


def read_summary(path: Path) -> dict[str, Any]:
    """Return the content of a `summary.json`.

    Raises:
        UserError: it cannot be read, is no JSON, or lacks a key that readers of summaries use.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _Summary.model_validate(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        reason = f" ({where}: {first['msg'].lower()})" if where else ""
        raise UserError(f"{path}: is not a summary of ssl_zoo{reason}{_ADVICE}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is cut short or no JSON{_ADVICE}") from None
    return content


_ADVICE = "; remove it and resume the run, which writes it again."
