"""The labels of parquet files: numbers or names, made to mean the same in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.layout.classes import many_classes, unify, without_labels
from ssl_zoo.data.layout.left_out import files as files_of
from ssl_zoo.data.layout.parquet_schema import File, reading
from ssl_zoo.errors import UserError

Column = tuple[list[Any], np.ndarray]
"""The distinct values of a column, and for each row the place of its value among them, -1 for none."""


def read_labels(
    files: Mapping[str, Sequence[File]], where: str
) -> tuple[dict[str, Tensor | None], list[str] | None, list[str]]:
    """Read the labels of all splits.

    Numbers below 0, missing values and NaN mean that a row has no label. Numbers keep their order and become dense;
    names that the files carry for them go before the numbers.

    Args:
        files: of each split.
        where: what the messages call the source.

    Returns:
        for each split its labels, `(N,)` int64, -1 for none, or None where no row has one; the name of each label, the
        same list for all splits, or None without labels; and sentences about how the labels were understood.

    Raises:
        UserError: files that do not agree, or a column that holds no classes.
    """
    labelled = {split: [file for file in found if _agree(found)] for split, found in files.items()}
    columns = {file: _read(file) for found in labelled.values() for file in found}
    if not columns:
        return dict.fromkeys(files), None, []
    kinds = {isinstance(value, str): file for file, (values, _) in columns.items() for value in values}
    if len(kinds) > 1:
        raise UserError(f"the labels of {kinds[True].name} are words and those of {kinds[False].name} are numbers; "
                        "leave labels out with -s data.source.label=null.")  # fmt: skip
    notes = _hidden(labelled, columns, where)
    if True in kinds:
        named = {file: {value: value for value in columns[file][0]} for file in columns}
    else:
        named, of_names = _names(columns, where)
        notes += of_names
    if named:
        class_names, numbers, spellings = _by_name(labelled, named, columns, where)
        notes += spellings
    else:
        ids = sorted({value for values, _ in columns.values() for value in values if value >= 0})
        class_names = [str(value) for value in ids]
        dense = {value: i for i, value in enumerate(ids)}
        numbers = {file: [dense.get(value, -1) for value in columns[file][0]] for file in columns}
    labels: dict[str, Tensor | None] = dict.fromkeys(files)
    for split, found in labelled.items():
        parts = [np.array([*numbers[file], -1], np.int64)[columns[file][1]] for file in found]  # place -1 is the last
        if parts:
            labels[split] = without_labels(torch.from_numpy(np.concatenate(parts)))
    notes += many_classes(labels, where, "-s data.source.label=null")
    return labels, class_names if any(each is not None for each in labels.values()) else None, notes


def _agree(files: Sequence[File]) -> bool:
    """Return whether the files of a split have labels."""
    have, lack = ([file for file in files if (file.label is None) == missing] for missing in (False, True))
    if have and lack:
        raise UserError(
            f"{have[0].name} has a column {have[0].label!r} and {lack[0].name} of the same split has none; correct the "
            "files, or leave labels out with -s data.source.label=null."
        )
    return bool(have)


def _read(file: File) -> Column:
    """Return the labels of a file. Whole numbers written as fractions (2.0) are taken as what they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(file.path), pq.ParquetFile(file.path) as opened:
        column = opened.read(columns=[file.label]).column(0)
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
            column = column.cast(kind)
        if pa.types.is_null(kind):
            return [], np.full(len(column), -1)
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string,
                 pa.types.is_large_string)  # fmt: skip
        if not any(test(kind) for test in tests):
            raise UserError(
                f"the label column {file.label!r} of {file.path} holds {kind}, not numbers or names of classes; name "
                "another with -s data.source.label=COLUMN, or leave labels out with -s data.source.label=null."
            )
        encoded = pa.chunked_array(column.chunks, column.type).combine_chunks().dictionary_encode()
        values = encoded.dictionary.to_pylist()
        places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_floating(kind):
        values = [_whole(value, file) for value in values]
    return values, places


def _whole(value: float, file: File) -> int:
    if value != value:
        return -1
    if not value.is_integer():
        raise UserError(
            f"the label column {file.label!r} of {file.path} holds {value:g}, which is no class; name another with "
            "-s data.source.label=COLUMN, or leave labels out with -s data.source.label=null."
        )
    return int(value)


def _hidden(labelled: Mapping[str, Sequence[File]], columns: Mapping[File, Column], where: str) -> list[str]:
    """Return a sentence about numbers below 0, where there are any."""
    notes = []
    for split, found in labelled.items():
        num = 0
        for file in found:
            values, places = columns[file]
            below = [i for i, value in enumerate(values) if not isinstance(value, str) and value < 0]
            num += int(np.isin(places, below).sum())
        if num:
            notes.append(f"{where}: a label below 0 means none: {num} {split} rows.")
    return notes


def _names(columns: Mapping[File, Column], where: str) -> tuple[dict[File, dict[Any, str]], list[str]]:
    """Return what the numbers of each file are called, empty where numbers are all there is.

    Raises:
        UserError: files that number their classes otherwise, and one without names for them.
    """
    faults = {file: file.fault for file in columns if file.fault}
    for file, (values, _) in columns.items():
        if file.class_names is not None and max(values, default=-1) >= len(file.class_names):
            faults[file] = f"it has names for {len(file.class_names)} classes, and a label {max(values)}"
    with_names = [file for file in columns if file.class_names is not None and file not in faults]
    without = [file for file in columns if file not in with_names]
    lists = {file.class_names or () for file in with_names}
    if len(lists) > 1 and without:
        raise UserError(
            f"{where}: its files number their classes in different ways, and {without[0].name} does not say how "
            f"({faults.get(without[0], 'it carries no class names')}); leave labels out with -s data.source.label=null."
        )
    notes = [f"{where}: the class names of {file.name} are of no use: {fault}." for file, fault in faults.items()]
    names = max(lists, default=())
    if any(max(columns[file][0], default=-1) >= len(names) for file in without):
        return {}, notes
    if without and with_names:
        notes.append(
            f"{where}: {files_of(len(without))} without class names, for example {without[0].name}; the numbers are "
            f"taken as in {with_names[0].name}."
        )
    if len(lists) > 1:
        notes.append(f"{where}: its files number their classes in different ways; they are matched by name.")
    return {
        file: dict(enumerate(file.class_names or names if file in with_names else names)) for file in columns
    }, notes


def _by_name(
    labelled: Mapping[str, Sequence[File]],
    named: Mapping[File, Mapping[Any, str]],
    columns: Mapping[File, Column],
    where: str,
) -> tuple[list[str], dict[File, list[int]], list[str]]:
    """Return the classes, the number of each file's distinct values, and sentences about names.

    Numbers with one list of names keep them; else the names are sorted.
    """
    lists = [list(names.values()) for names in named.values()]
    keys = {tuple(names) for names in named.values()}
    if all(names == lists[0] for names in lists) and keys == {tuple(range(len(lists[0])))}:
        return lists[0], {file: [v if v >= 0 else -1 for v in columns[file][0]] for file in columns}, []
    found = {split: {name for file in files for name in named[file].values()} for split, files in labelled.items()}
    classes, numbers, notes = unify(found, where)
    result: dict[File, list[int]] = {}
    for split, files in labelled.items():
        for file in files:
            values = columns[file][0]
            result[file] = [numbers[split, named[file][v]] if v in named[file] else -1 for v in values]
    return classes, result, notes
