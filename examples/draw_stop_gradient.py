"""Draws the study of stop-gradient across modalities from its run folders.

ssl-zoo run digits_and_speech/stop_gradient --out runs -s data.source.sources.audio.path=FSDD_PARQUET
python draw_stop_gradient.py runs/digits_and_speech stop_gradient.png
"""

import sys
from pathlib import Path

from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.overview import write_overview
from ssl_zoo.runs.folder import RunFolder

SETTINGS = {
    "": "SimSiam on pairs",
    "no_stop_gradient-": "without stop-gradient",
    "no_predictor-": "without predictor",
    "neither-": "without both",
    "vicreg-": "VICReg on pairs",
}
"""The start of the run folders of each variant, and what the picture calls it."""


def groups(folder: Path) -> list[Group]:
    """Return the finished runs of each variant."""
    found = []
    for variant, name in SETTINGS.items():
        runs = sorted(run for run in folder.glob(f"stop_gradient-{variant}seed*") if (run / "summary.json").is_file())
        summaries = [(run, RunFolder(run).read_summary()) for run in runs]
        done = [(run, summary) for run, summary in summaries if summary["status"] in ("done", "collapsed")]
        if done:
            found.append(Group(name, tuple(run for run, _ in done), tuple(summary for _, summary in done)))
    return found


def main(folder: str, picture: str) -> None:
    """Write the picture of the runs in a folder."""
    protocols = {
        "retrieval.image_to_audio_same_class_1": "find sound",
        "retrieval.audio_to_image_same_class_1": "find image",
        "image/knn": "kNN image",
        "audio/knn": "kNN sound",
    }
    write_overview(
        groups(Path(folder)),
        Path(picture),
        protocols=protocols,
        title="share of the right class, % (chance 10)",
        metric="std",
        metric_title="spread of z, the worse member (0: a point)",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
