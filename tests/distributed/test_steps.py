"""Every recipe by every strategy of several processes equals one process, and so does what they save.

Three optimizer steps of the trainer in float64, each process on other samples: the losses, and after them the weights,
the buffers and the optimizer's state. Some batches are cut into micro-batches, and the gradients are clipped.
"""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import method_names
from ssl_zoo.runs import checkpoint, shard_files
from tests.distributed import saved, steps
from tests.distributed.group import needs_sharding, run_group

pytestmark = needs_sharding

METHODS = list(method_names())
TOLERANCE = 1e-9
"""Of weights after some steps by an adaptive optimizer, which makes a step of a gradient that is rounding alone."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def two(out: Path) -> list[dict[str, Any]]:
    return run_group(2, steps.by_two, out)


@pytest.fixture(scope="module")
def four(two: Any, out: Path) -> list[dict[str, Any]]:
    return run_group(4, steps.by_four, out)


def check(found: list[dict[str, Any]], key: str, *, sharded: bool) -> None:
    """Assert that some steps are those of one process, and that nothing differs between processes."""
    first = found[0][key]
    assert first["loss"] < TOLERANCE
    assert first["state"][0] < TOLERANCE, first["state"]
    for each in found:
        assert each[key]["unequal"] == each[key]["target"] == []
        assert each[key]["sharded"] == (each[key]["weights"] if sharded else 0)


@pytest.mark.parametrize("strategy", ("ddp", "fsdp"))
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_equal_one(two: list[dict[str, Any]], method: str, strategy: str) -> None:
    check(two, f"{method} {strategy}", sharded=strategy == "fsdp")


@pytest.mark.parametrize("key", steps.EXTRA)
def test_targets_that_are_copied_and_heads_without_gradient(two: list[dict[str, Any]], key: str) -> None:
    check(two, key, sharded=True)


def test_no_recipe_is_left_out(two: list[dict[str, Any]]) -> None:
    assert len(METHODS) >= 31 and set(steps.ACCUMULATED) < set(METHODS)


@pytest.mark.parametrize("name", steps.VARIANTS)
def test_options_change_memory_and_not_numbers(two: list[dict[str, Any]], name: str) -> None:
    check(two, f"byol {name}", sharded=True)


@pytest.mark.parametrize("key", [*(f"{name} 1" for name in steps.SOME), "byol 2"])
def test_four_processes_equal_one(four: list[dict[str, Any]], key: str) -> None:
    """Some have no part of a weight that has fewer rows than there are processes."""
    check(four, key, sharded=True)
    assert all(each["entries"] for each in four)


@pytest.mark.parametrize("name", steps.SOME)
def test_half_precision_is_that_of_ddp_and_sends_half_of_the_bytes(two: list[dict[str, Any]], name: str) -> None:
    first, second = (each["half"] for each in two)
    ours, theirs = first[f"{name} fsdp"], first[f"{name} ddp"]
    assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-6)
    assert theirs["losses"] == second[f"{name} ddp"]["losses"] and not theirs["gathered"]
    assert ours["gathered"] < 0.53 * two[0][f"{name} fsdp"]["gathered"] / 2  # which is in float64
    assert "of the weights are gathered as bfloat16" in first[f"{name} notes"][0]


@pytest.mark.slow
def test_compiled_networks_have_the_same_losses() -> None:
    for found in run_group(2, steps.compiled):
        assert found["compiled"] == pytest.approx(found["plain"], rel=1e-6)


def test_weights_that_are_kept_are_gathered_once_a_step(two: list[dict[str, Any]]) -> None:
    """Else for each pass: those of the encoder and the projector forward and backward, those of the target forward."""
    weights = two[0]["byol fsdp"]["bytes"]
    assert weights * steps.STEPS <= two[0]["byol kept"]["gathered"] < 1.1 * weights * steps.STEPS  # parts are padded
    assert two[0]["byol fsdp"]["gathered"] < 2 * 2 * weights * steps.STEPS


def test_a_checkpoint_holds_the_moment_at_which_it_was_begun(two: list[dict[str, Any]]) -> None:
    for each in two:
        found = each["saved"]
        assert found["begun"] == [] and found["finished"] == [3] and not found["before"]
        assert found["exact"]
        assert found["folders"] == ["last.pt", "last.shards-0"]
        assert found["gathered"] == (True, 14) and found["entries"]


def test_what_cannot_be_written_leaves_the_checkpoint_before(two: list[dict[str, Any]]) -> None:
    for each in two:
        found = each["saved"]
        assert found["full"].startswith("CannotWrite: cannot write") and "No space left on device" in found["full"]
        assert found["after full"] == (3, ["last.pt", "last.shards-0"])
        assert found["after again"] == (6, ["last.pt", "last.shards-1"])
        assert found["nan"].startswith("NotFinite: the state after step 6 is not finite (method/")


@pytest.mark.parametrize("size", (1, 4))
def test_another_number_of_processes_goes_on_from_it(two: Any, four: Any, out: Path, size: int) -> None:
    found = [saved.resume(0, 1, out)] if size == 1 else [each["resumed"] for each in four]
    assert len(found) == size
    for each in found:
        assert each["exact"]
        assert each["damaged"].endswith("the checksum of its part three.shards-0/__1_0.distcp does not fit.")
        assert each["losses"] == pytest.approx(two[0]["saved"]["losses"], rel=TOLERANCE)


class Harmful:
    """What a plain unpickler would run."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (Path("harmed"),))


class Reaching:
    """An attribute of any object, by the function that names members of enums."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (getattr, ("text", "upper"))


class ByName(pickle.Pickler):
    """Writes members of enums as Python 3.11.0 to 3.11.3 do."""

    def reducer_override(self, obj: Any) -> Any:
        return (getattr, (type(obj), obj.name)) if isinstance(obj, Enum) else NotImplemented


def lose(folder: Path) -> None:
    (folder / "__1_0.distcp").unlink()


def flip(folder: Path) -> None:
    path = folder / "__0_0.distcp"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def harm(folder: Path) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(Harmful()))


def reach(folder: Path) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(Reaching()))


def name_members(folder: Path) -> None:
    file, old = io.BytesIO(), (folder / ".metadata").read_bytes()
    ByName(file).dump(pickle.loads(old))
    assert b"getattr" in file.getvalue()
    (folder / ".metadata").write_bytes(file.getvalue())


def swell(folder: Path) -> None:
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    next(iter(metadata.state_dict_metadata.values())).size = torch.Size([2**50])
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def stray(folder: Path) -> None:
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    next(iter(metadata.storage_data.values())).relative_path = "../three.pt"
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def changed(out: Path, place: Path, change: Callable[[Path], None], sealed: bool) -> Path:
    """Return a copy of a checkpoint whose parts are changed, with the checksums that fit if it is `sealed`."""
    path, folder = place / "three.pt", place / "three.shards-0"
    shutil.copytree(out / folder.name, folder)
    shutil.copy(out / path.name, path)
    change(folder)
    if sealed:
        state = torch.load(path, weights_only=True)
        state["parts"]["files"] = {name: shard_files.digest(folder / name) for name in state["parts"]["files"]}
        checkpoint.save(path, state)
    return path


@pytest.mark.parametrize(
    ("change", "sealed", "message"),
    [
        (lose, False, "lacks its part three.shards-0/__1_0.distcp; copy the folder three.shards-0 along with the file"),
        (flip, False, "is damaged: the checksum of its part three.shards-0/__0_0.distcp does not fit"),
        (harm, False, "is damaged: the checksum of its part three.shards-0/.metadata does not fit"),
        (harm, True, "has no readable description of its parts: pathlib.*touch is no part of one"),
        (reach, True, "has no readable description of its parts: getattr of anything but an enum is no part of one"),
        (swell, True, "describes more than its parts hold"),
        (stray, True, "describes files that are none of its parts"),
    ],
)
def test_parts_that_are_not_those_of_the_checkpoint_are_refused(
    two: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None], sealed: bool, message: str,
) -> None:  # fmt: skip
    """With the checksums that fit, too."""
    path = changed(out, tmp_path, change, sealed)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        checkpoint.load(path)
    assert not (tmp_path / "harmed").exists()


def test_parts_that_an_older_python_describes_are_read(two: Any, out: Path, tmp_path: Path) -> None:
    assert saved.equal(checkpoint.load(changed(out, tmp_path, name_members, True)), checkpoint.load(out / "three.pt"))


def test_a_single_file_takes_the_place_of_parts(two: Any, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "three.pt"
    shutil.copytree(out / "three.shards-0", tmp_path / "three.shards-0")
    shutil.copytree(out / "three.shards-0", tmp_path / "three.shards-7")  # of a write that was killed
    shutil.copy(out / path.name, path)
    state = checkpoint.load(path)
    assert checkpoint.next_folder(path).name == "three.shards-8"
    assert checkpoint.merge(path) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["three.pt"]
    assert saved.equal(checkpoint.load(path), state)
    checkpoint.remove(path)
    assert not list(tmp_path.iterdir())
