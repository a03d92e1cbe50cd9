"""The model card of an exported encoder: `README.md` as hubs show it, with the figures of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.runs.export.subject import Subject
from ssl_zoo.runs.export.target import Target
from ssl_zoo.runs.folder import RunFolder

REPRESENTATIONS = {"encoder": "this encoder", "untrained": "the same, untrained", "raw": "raw samples"}
"""What a card calls the columns of its table."""


def model_card(subject: Subject, target: Target, facts: Mapping[str, str], with_preprocessing: bool) -> str:
    """Return the text of a model card.

    The licence is left to the user: neither that of the data nor a wish for the weights is known here.

    Args:
        subject: the encoder.
        target: the form in which it is exported.
        facts: {what: value} of the comparison after writing.
        with_preprocessing: whether the file takes samples as they are.
    """
    card, summary = subject.card, _summary(subject)
    method = _plain(str(card.get("method", "")))
    about = {"library_name": target.library, "tags": _tags(subject, method)}
    title = f"{subject.name} trained by {method}" if method else subject.name
    blocks = [
        f"---\n{yaml.safe_dump(about, sort_keys=False)}---",
        f"# {_plain(title)}",
        _origin(subject, summary),
        "## Load it\n\n```python\n" + "\n".join(target.lines(subject, target.file)) + "\n```",
        _input(subject, target, with_preprocessing),
        "## How good it is\n\n" + "\n\n".join(_figures(summary)),
        "## How it was checked\n\nThe file was loaded again by its library and its features compared with those of the "
        f"encoder: {facts['compared on']}, largest difference {facts['largest difference']}, allowed "
        f"{facts['tolerance']}.",
        "## Licence\n\nNot stated. Whoever publishes these weights has to say under which licence, with regard to that "
        "of the data that they were trained on, and to add `license:` to the head of this file.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _summary(subject: Subject) -> dict[str, Any]:
    """Return the summary of the run; empty where the encoder comes without one."""
    folder = RunFolder(subject.files.folder)
    try:
        return folder.read_summary() if folder.summary.is_file() else {}
    except UserError:
        return {}


def _tags(subject: Subject, method: str) -> list[str]:
    found = ["self-supervised-learning", "feature-extraction", "ssl_zoo", subject.spec.modality, method]
    return list(dict.fromkeys(tag for tag in found if tag))


def _origin(subject: Subject, summary: Mapping[str, Any]) -> str:
    """Return the sentences on where the weights come from."""
    card, environment = subject.card, summary.get("environment") or subject.card.get("environment")
    environment = environment if isinstance(environment, dict) else {}
    options = {key: value for key, value in card["encoder"].items() if key != "name"}
    made = f" ({', '.join(f'{key}: {json.dumps(value)}' for key, value in options.items())})" if options else ""
    of = f", the encoder of its member {subject.member}" if subject.member else ""
    lines = [
        f"The encoder `{subject.name}`{made} was trained without labels and without negative pairs by "
        f"ssl_zoo {environment.get('ssl_zoo', '')}{of}. It gives "
        f"{subject.out_dim} features a sample."
    ]
    epochs, num = summary.get("epochs"), (summary.get("data") or {}).get("train")
    length = f"{card.get('steps')} optimizer steps"
    if epochs is not None and num:
        length += f" ({epochs:.3g} epochs of {num} samples)"
    lines.append(f"It was trained for {length}, with seed {card.get('seed')}.")
    where = ", ".join(str(environment[key]) for key in ("hardware", "precision") if environment.get(key))
    if where:
        lines.append(f"Hardware: {where}; torch {environment.get('torch')}.")
    return _plain(" ".join(lines))


def _input(subject: Subject, target: Target, with_preprocessing: bool) -> str:
    """Return what goes in and what comes out."""
    view, steps = subject.spec.views[0], subject.steps
    shape = " x ".join(map(str, view.shape))
    kind = str(view.dtype).removeprefix("torch.")
    name = "`input` is" if target.file.endswith("onnx") else "It takes"
    if with_preprocessing:
        text = f"{name} a batch of uint8 samples of {view.shape[0]} channels and of one size, whatever that is."
        text += " Inside it does this:" if steps else ""
    else:
        text = f"{name} a batch of {kind} samples of {shape}, prepared so:" if steps else f"{name} a batch of {kind} "
        text += "" if steps else f"samples of {shape}, prepared by the plain view of the run."
    lines = [f"- {key}: `{json.dumps(value)}`" for key, value in steps.items()]
    if "size" in steps:
        lines = [
            f"- the short side is resized to {steps['size']} ({steps['interpolation']}, antialiased), and the centre "
            f"of {steps['size']} x {steps['size']} cropped",
            f"- values are divided by {steps['divided_by']}, less {steps['mean']}, divided by {steps['std']}, for each "
            "channel",
        ]
    return "## Input\n\n" + text + ("\n\n" + "\n".join(lines) if lines else "")


def _figures(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paragraphs on what was measured."""
    if not summary:
        yield "The numbers of the run were not at hand when this was written."
        return
    results = {"encoder": summary.get("metrics") or {}, **(summary.get("baselines") or {})}
    table = _table({name: results[name] for name in REPRESENTATIONS if results.get(name)}, summary.get("tested") or {})
    yield table or "Nothing was measured."
    verdict = summary.get("verdict") or {}
    if verdict:
        sentences = " ".join(map(str, verdict.get("sentences", ())))
        yield _plain(f"Verdict: **{verdict.get('level')}**. {sentences}")
    collapse = summary.get("collapse") or {}
    if collapse.get("status"):
        reason = f": {str(collapse['reason']).rstrip('.')}" if collapse.get("reason") else ""
        yield _plain(f"Collapse guard: {collapse['status']}{reason}.")


def _table(results: Mapping[str, Mapping[str, Any]], tested: Mapping[str, Any]) -> str:
    """Return a table in Markdown: a row for each metric of each protocol, a column for each representation."""
    rows = [(protocol, metric) for protocol, found in results.get("encoder", {}).items() for metric in found]
    if not rows:
        return ""
    lines = [
        _row(["measured", "test samples", *(REPRESENTATIONS[name] for name in results)]),
        _row(["---"] * (2 + len(results))),
    ]
    for protocol, metric in rows:
        values = [_number(found.get(protocol, {}).get(metric)) for found in results.values()]
        lines.append(_row([f"{protocol} {metric}", _number(tested.get(protocol)), *values]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _plain(text: str) -> str:
    """Return text that has no marks of HTML or of a table, and no line break."""
    return re.sub(r"[<>|]", "", " ".join(shown_name(text).split()))
