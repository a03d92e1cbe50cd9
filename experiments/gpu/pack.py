"""Cut a data set of Parquet files into folders that are each small enough to be carried.

    python -m experiments.gpu.pack CIFAR10_FOLDER --out parts --megabytes 56

The files in `parts/0`, `parts/1`, ... are named after those they were cut from: all of them in one folder are the data
set again, in its order.
"""

from __future__ import annotations

from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

_ROWS = 500


class Parts:
    """Folders that are filled one after the other, and the file that is being written."""

    def __init__(self, out: Path, most: int) -> None:
        self.out, self.most, self.number, self.filled = out, most, 0, 0
        self.writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table, stem: str) -> None:
        """Write some rows of a file, to the next folder where this one is full."""
        if self.filled + table.nbytes > self.most:
            self.close()
            self.number, self.filled = self.number + 1, 0
        if self.writer is None:
            folder = self.out / str(self.number)
            folder.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(folder / f"{stem}-{self.number:05d}.parquet", table.schema)
        self.writer.write_table(table)
        self.filled += table.nbytes

    def close(self) -> None:
        """End the file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--megabytes", default=56, show_default=True, type=click.IntRange(min=1), help="Most of a folder.")
def main(data: Path, out: Path, megabytes: int) -> None:
    """Cut the Parquet files of a folder into parts, the large ones first."""
    if out.exists():
        raise click.UsageError(f"--out {out}: exists already; remove it, or give another folder.")
    parts = Parts(out, megabytes * 10**6)
    for path in sorted(data.glob("*.parquet"), key=lambda each: -each.stat().st_size):
        for batch in pq.ParquetFile(path).iter_batches(_ROWS):
            parts.add(pa.Table.from_batches([batch]), path.stem)
        parts.close()
    for folder in sorted(out.iterdir()):
        size = sum(path.stat().st_size for path in folder.iterdir())
        click.echo(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
