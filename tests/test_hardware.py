"""What a run computes on: device, precision, layout, memory that stays, and a compiler that is there."""

import os
import resource
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.gpu.check_graph import open_run
from ssl_zoo import registry
from ssl_zoo.batch import Batch, StepOutput, View
from ssl_zoo.distributed.launch import count_processes, is_to_start
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.program import called_with, command
from ssl_zoo.errors import UserError
from ssl_zoo.hardware import (
    Hardware,
    arithmetic,
    check_compiler,
    choose,
    environment,
    is_unsafe,
    keep_memory,
    use_memory_format,
)
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.checkpoint import load
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.setup import hardware_notes
from ssl_zoo.training.train import train
from ssl_zoo.training.trainer import Trainer
from tests.killing import in_child

TINY = ["encoder=convnet", "encoder.widths=[4, 6]", "views.channels=1", "views.size=8", "views.grey=0",
        "training.batch_size=8", "training.max_steps=2", "projector.dims=[8, 8]", "predictor.dims=[4, 8]",
        "evaluation.protocols=[]"]  # fmt: skip


def count_faults(file: Path, keep: bool, variables: dict[str, str]) -> None:
    """Write how many page faults four tensors cost once memory has settled."""
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        del os.environ[name]
    os.environ |= variables
    if keep:
        keep_memory()

    def use() -> None:
        torch.ones(2**24)  # 64 MiB, more than glibc keeps by itself

    for _ in range(24):  # small allocations settle in between, so that a large one fits where the last one was
        use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        use()
    file.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="only glibc has the setting")
def test_freed_memory_is_kept_for_the_next_step(tmp_path):
    cases = {"kept": (True, {}), "given back": (False, {}), "told": (True, {"MALLOC_ARENA_MAX": "4"})}
    for name, case in cases.items():
        in_child(count_faults, tmp_path / name, *case)
    kept, given_back, told = (int((tmp_path / name).read_text()) for name in cases)
    assert given_back >= 4 * 2**14 * 0.9  # a page is 4 KiB
    assert kept < given_back / 20
    assert told >= given_back / 2  # the environment's own setting is left alone


def test_a_compiler_that_is_missing_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"training.compile: torch needs a C\+\+ compiler"):
        check_compiler()
    monkeypatch.setenv("CXX", "clang-99")
    with pytest.raises(UserError, match="none of clang-99 is on the PATH"):
        train(load_recipe("simsiam", [*TINY, "training.compile=true"], data="digits"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="training.*compile: torch does not compile blocks that are computed again"):
        load_recipe("simsiam", ["training.compile=true", "training.gradient_checkpointing=true"])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look
def test_compiled_networks_train_as_the_plain_ones(tmp_path):
    ends = []
    for value in ("false", "true"):
        recipe = load_recipe("byol", [*TINY, f"training.compile={value}"], data="digits")
        train(recipe, out=tmp_path / value, log=lambda line: None)
        ends.append(load(RunFolder(tmp_path / value).checkpoint)["method"])
    assert list(ends[0]) == list(ends[1])
    for name, weight in ends[0].items():
        torch.testing.assert_close(weight, ends[1][name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in fp16")
def test_fp16_on_a_cpu_is_refused_and_no_run_says_that_it_used_it(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    recipe = load_recipe("simsiam", [*TINY, "training.precision=fp16"], data="digits")
    with pytest.raises(UserError, match=r"training\.precision: fp16 needs a GPU, and this machine computes on a CPU"):
        train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    chosen = choose(recipe.training.precision, for_training=False)
    assert chosen.precision == "fp32"  # a run from a GPU is evaluated here
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        chosen = choose(precision)
        with Precision(chosen.precision, chosen.device).autocast():
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype and chosen.precision == precision


def test_several_devices_in_a_notebook_are_refused(monkeypatch):
    chosen = Hardware("a CPU", "cpu", "fp32", "contiguous")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    program = types.ModuleType("__main__")
    program.__file__ = "program.py"
    monkeypatch.setitem(sys.modules, "__main__", program)
    assert count_processes(2, chosen) == 2 and is_to_start(2)
    with called_with(["train"]):
        assert command() == [sys.executable, "-m", "ssl_zoo", "train"]
    assert command() == [sys.executable, *sys.orig_argv[1:]]  # what a call was given ends with it
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))  # as in a notebook: of no file
    with pytest.raises(UserError, match="devices=2: each process is started by running the program once more, and a n"):
        is_to_start(2)
    assert not is_to_start(1)
    monkeypatch.setenv("PET_NNODES", "3")
    assert count_processes(2, chosen) == 6
    monkeypatch.setenv("PET_NNODES", "1:3")
    with pytest.raises(UserError, match="PET_NNODES=1:3: give the number of machines; a run has a fixed one"):
        count_processes(2, chosen)
    monkeypatch.delenv("PET_NNODES")
    assert count_processes(None, chosen) == count_processes(1, chosen) == 1


class OneView(nn.Module):
    """A method of one encoder: pulls h to 1."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, batch):
        h = self.encoder(batch.views[0].data)
        loss = (h - 1).square().mean()
        return StepOutput(loss, {"square": loss}, [h.detach()])

    def after_step(self, progress):
        """Nothing follows."""


def clips() -> tuple[nn.Module, torch.Tensor]:
    encoder = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    return encoder, torch.randn(4, 2, 4, 6, 6)


def words() -> tuple[nn.Module, torch.Tensor]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(40, 4)), torch.randn(4, 5, 8)


def mixed() -> tuple[nn.Module, torch.Tensor]:
    frames = nn.Sequential(nn.Conv3d(2, 4, (3, 1, 1), padding=(1, 0, 0)), nn.Flatten(1, 2), nn.Conv2d(16, 4, 3))
    return nn.Sequential(frames, nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.randn(4, 2, 4, 6, 6)


@pytest.mark.parametrize("make", [clips, words, mixed])
def test_encoders_of_any_kind_train_at_the_default_memory_format(make):
    torch.manual_seed(0)
    encoder, x = make()
    method, device, hardware = OneView(encoder), torch.device("cpu"), choose()
    use_memory_format(method, hardware.memory_format)
    context = {"device": device, "precision": Precision("fp32", device), "num_processes": 1}
    strategy = registry.build("strategy", "auto", **context)
    groups = [{"params": list(method.parameters()), "lr_scale": 1.0, "constant": False}]
    optimizer = strategy.prepare(method, lambda prepared: torch.optim.SGD(groups, lr=0.1))
    trainer = Trainer(strategy, method, optimizer, lambda step: 1.0, 0.1, 2, 0, lambda raw: raw)
    losses = [float(trainer.take_step([Batch([View(x)])], 1).loss) for _ in range(2)]
    assert losses[1] < losses[0]
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)
        elif isinstance(layer, nn.Conv3d):
            assert layer.weight.is_contiguous()


def narrow_layers():
    def conv(inputs, kernel=1, stride=2, **options):
        return nn.Conv2d(inputs, 8, kernel, stride=stride, **options)

    unsafe = [conv(2), conv(7), conv(4, stride=(1, 2)), conv(4, bias=False)]
    safe = [conv(1), conv(8), conv(4, stride=1), conv(4, 3), conv(4, (1, 3)), conv(4, groups=2), conv(4, 2),
            nn.ConvTranspose2d(4, 8, 1, stride=2), nn.Conv3d(4, 8, 1, stride=2)]  # fmt: skip
    return unsafe, safe


def test_a_convolution_that_torch_dies_of_is_computed_contiguous_on_a_cpu():
    unsafe, safe = narrow_layers()
    assert all(map(is_unsafe, unsafe)) and not any(map(is_unsafe, safe))
    recipe = load_recipe("simsiam", ["encoder=resnet18", "encoder.width=0.0625", *TINY[2:]], data="digits")
    encoder = build(recipe).encoder
    assert use_memory_format(encoder, "channels_last", "cuda") == []
    encoder = build(recipe).encoder
    assert use_memory_format(encoder, "channels_last", "cpu") == ["layer2.0.downsample.0"]
    layer = encoder.get_submodule("layer2.0.downsample.0")
    seen = []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(torch.randn(2, 1, 64, 64).contiguous(memory_format=torch.channels_last))
    for x in (*seen, layer.weight):
        assert x.is_contiguous()
    assert use_memory_format(build(recipe).encoder, "contiguous") == ["layer2.0.downsample.0"]
    if not torch.cuda.is_available():
        (note,) = hardware_notes(open_run(recipe))
        assert note.startswith("encoder.layer2.0.downsample.0: computed contiguous, since torch's channels_last form")


def pretend_gpu(monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported",
                        lambda including_emulation=True: including_emulation or capability >= 8)  # fmt: skip


def test_half_precision_is_chosen_only_where_it_is_no_emulation(monkeypatch):
    pretend_gpu(monkeypatch, 7)
    old = choose()
    assert old.precision == "fp32" and "a GPU would only emulate bfloat16" in old.note
    assert choose("bf16").precision == "bf16" and choose("fp16").precision == "fp16"
    with pytest.raises(UserError, match=r"training\.precision: tf32 needs an NVIDIA GPU of compute capability 8\.0"):
        choose("tf32")
    assert choose("tf32", for_training=False).precision == "fp32"
    pretend_gpu(monkeypatch, 8)
    assert (choose().precision, choose().note, choose("tf32").precision) == ("bf16", "", "tf32")
    assert environment(choose("tf32"))["float32_products"] == "tf32"
    assert environment(choose())["float32_products"] == "ieee"


def test_tf32_is_on_only_in_the_precision_of_this_name_and_what_was_set_comes_back():
    cudnn = torch.backends.cudnn

    def now():
        return cudnn.allow_tf32, torch.get_float32_matmul_precision(), cudnn.benchmark

    before = now()
    try:
        for mine in ((True, "highest", False), (False, "high", True), (True, "medium", False)):
            cudnn.allow_tf32, cudnn.benchmark = mine[0], mine[2]
            torch.set_float32_matmul_precision(mine[1])
            for precision in ("fp32", "bf16", "fp16", "tf32"):
                with pytest.raises(KeyError), arithmetic("cuda", precision, fixed_shapes=True):
                    assert now() == ((True, "high", True) if precision == "tf32" else (False, "highest", True))
                    raise KeyError
                assert now() == mine
            with arithmetic("cpu", "fp32", fixed_shapes=True):
                assert now() == mine
    finally:
        cudnn.allow_tf32, cudnn.benchmark = before[0], before[2]
        torch.set_float32_matmul_precision(before[1])


class Reads(TorchDispatchMode):
    """Counts the numbers that Python asks a tensor for."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("fused", [False, True])
def test_fp16_reads_one_number_per_step_and_says_whether_it_moved(fused):
    weight = nn.Parameter(torch.ones(3))
    optimizer, precision = torch.optim.SGD([weight], lr=0.5, fused=fused), Precision("fp16", torch.device("cpu"))
    moved, reads = [], []
    for factor in (1.0, 1e38, 1.0, float("nan")):
        precision.backward((weight * factor).sum())
        with Reads() as read:
            moved.append(precision.step(optimizer, None))
        reads.append(read.count)
    assert moved == [True, False, True, False] and weight.tolist() == [0, 0, 0] and reads == [1] * 4
    assert precision.state()["scale"] == 2.0**14
    again = Precision("fp16", torch.device("cpu"))
    again.load(precision.state())
    again.backward(weight.sum())
    assert again.step(optimizer, None) and weight.tolist() == [-0.5] * 3
