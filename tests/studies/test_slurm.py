"""The file of a SLURM job: what sbatch and the shell read, and what is refused."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssl_zoo.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def slurm(*words: str) -> Result:
    return CliRunner().invoke(main, ["slurm", "digits/simsiam", *words])


def test_a_job_has_what_sbatch_reads_and_quotes_what_the_shell_reads(here: Path) -> None:
    done = slurm("-s", "method=it's; $(touch evil)", "--seed", "3", "--nodes", "4", "--gpus-per-node", "8",
                 "--cpus-per-node", "96", "--time", "1-00:00:00", "--partition", "gpu", "--sbatch", "account=me",
                 "--sbatch", "exclusive", "--setup", "module load cuda", "--out", "runs/a b")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.output == "a b.sbatch: submit it by `sbatch a b.sbatch`\n"
    text = Path("a b.sbatch").read_text()
    for line in ("nodes=4", "ntasks-per-node=1", "gpus-per-node=8", "cpus-per-task=96", "time=1-00:00:00",
                 "partition=gpu", "account=me", "exclusive", "signal=TERM@300", "requeue", "open-mode=append",
                 "job-name=a-b"):  # fmt: skip
        assert f"#SBATCH --{line}\n" in text
    assert "\nmodule load cuda\n" in text and "PET_NNODES=4" in text
    (command,) = (line for line in text.splitlines() if line.startswith("srun "))
    words = shlex.split(command)
    assert "method=it's; $(touch evil)" in words
    assert words[-5:] == ["--out", "runs/a b", "--devices", "8", "${resume[@]}"]
    assert subprocess.run(["bash", "-n", "a b.sbatch"], check=False).returncode == 0
    echoed = command.replace("srun", "printf '%s\\n'", 1)
    run = subprocess.run(["bash", "-c", f"resume=(--resume); {echoed}"], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [*words[1:-1], "--resume"] and not Path("evil").exists()


def test_a_job_is_submitted_where_there_is_an_sbatch(here: Path) -> None:
    assert "--submit: there is no sbatch on the PATH" in slurm("--submit").output
    assert not Path("digits-simsiam-seed0.sbatch").exists()
    (here / "sbatch").write_text(
        '#!/bin/bash\n[ "$1" = good ] && echo "Submitted batch job 7" || { echo no >&2; exit 1; }'
    )
    (here / "sbatch").chmod(0o755)
    done = slurm("--submit", "--script", "good")
    assert (done.exit_code, done.output) == (0, "Submitted batch job 7\n")
    done = slurm("--submit", "--script", "other")
    assert (done.exit_code, done.output) == (2, "error: --submit: sbatch refused other: no\n")
    assert "exists and is not replaced" in slurm("--script", "good").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--resume: leave it out; the job resumes itself"),
        (["--time", "soon"], "--time soon: give minutes, HH:MM:SS or D-HH:MM:SS"),
        (["--sbatch", "account=a b"], "--sbatch account=a b: give an option of sbatch with its value"),
        (["--partition", "a\n#SBATCH --uid=0"], "give an option of sbatch with its value"),
        (["--epoch", "3"], "No such option"),
        (["-s", "training.epoch=3"], "training.epoch: unknown key"),
    ],
)
def test_what_a_job_would_stumble_over_is_refused_before(here: Path, words: list[str], message: str) -> None:
    done = slurm(*words)
    assert done.exit_code == 2 and message in done.output
    assert not list(Path().iterdir())
