"""torchrun's agent in this process: starts the processes of a run on this machine, watches them, starts them again.

It differs from the command `torchrun` in what it says and how it ends. The first error is shown once; the exit code is
that of the run (schedulers requeue on 75); a signal is passed on to the processes, which save in their own time, and
does not end the agent.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousParameters, registry
from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint
from torch.distributed.launcher.api import LaunchConfig
from torch.distributed.run import config_from_args, parse_args

from ssl_zoo.distributed.failure import Failure, first_failure
from ssl_zoo.distributed.launch import ATTEMPT, EXIT_CODE, LAUNCHER
from ssl_zoo.hardware import cpus_of_each

STOPPED = 75

_WATCH_S = 0.1

Log = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How the processes ended: the exit code of the run, and why they failed if they did."""

    code: int
    failure: Failure | None = None


def run_agent(command: Sequence[str], here: int, nodes: int, max_restarts: int, log: Log) -> Outcome:
    """Run a command in several processes until all have ended.

    Args:
        command: that each of them runs.
        here: processes on this machine.
        nodes: machines. Those of several meet as torchrun's do, by the variables `PET_RDZV_BACKEND`,
            `PET_RDZV_ENDPOINT`, `PET_RDZV_ID` and the other options of torchrun, in capitals after `PET_`.
        max_restarts: how often all processes are started again after one has failed.
        log: prints a line for the user.
    """
    with tempfile.TemporaryDirectory(prefix="ssl_zoo-") as folder, _quiet():
        # A store of a round is not to be used by the next one: gloo finds addresses of processes in it that are gone.
        rounds = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"} if max_restarts else {}
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(cpus_of_each(here))}
        with _environment({LAUNCHER: folder, ATTEMPT: "0", **threads, **rounds}):
            agent, close = _agent(command, _config(here, nodes, max_restarts, folder), log)
            before = {number: signal.getsignal(number) for number in _SIGNALS}
            try:
                failed = _run(agent)
                close()
            except SignalException:  # it came before the processes could be told
                return Outcome(STOPPED)
            finally:
                if threading.current_thread() is threading.main_thread():
                    for number, handler in before.items():
                        signal.signal(number, signal.SIG_DFL if handler is None else handler)
        return _outcome(failed, agent, Path(folder))


def _run(agent: _Agent) -> bool:
    """Run an agent, and return whether its processes failed for good."""
    try:
        return agent.run().is_failed()
    except _NoRestart:
        return True


def _outcome(failed: bool, agent: _Agent, folder: Path) -> Outcome:
    failure = agent.failure
    if failed and failure is not None:
        if agent.signals and failure.kind == "silent" and failure.exit_code in (-signal.SIGTERM, STOPPED):
            # They were told to stop before they could save anything, or twice, and then did not save.
            return Outcome(STOPPED if agent.signals == 1 else 128 + signal.SIGTERM)
        return Outcome(2 if failure.kind == "user" else max(1, failure.exit_code), failure)
    file = folder / EXIT_CODE
    return Outcome(int(file.read_text(encoding="utf-8")) if file.is_file() else 0)


def _config(here: int, nodes: int, max_restarts: int, folder: str) -> LaunchConfig:
    words = [f"--nproc-per-node={here}", f"--max-restarts={max_restarts}", f"--log-dir={folder}"]
    if nodes == 1:
        words += ["--nnodes=1", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id={uuid4()}"]
        words += ["--local-addr=localhost"]  # the machine's name need not be one that it can look up
    config, _, _ = config_from_args(parse_args([*words, "command"]))
    return config


def _agent(command: Sequence[str], config: LaunchConfig, log: Log) -> tuple[_Agent, Callable[[], Any]]:
    """Return torch's agent, and what closes the meeting of the machines after it has run."""
    handler = registry.get_rendezvous_handler(
        RendezvousParameters(
            backend=config.rdzv_backend,
            endpoint=config.rdzv_endpoint,
            run_id=config.run_id,
            min_nodes=config.min_nodes,
            max_nodes=config.max_nodes,
            local_addr=config.local_addr,
            **config.rdzv_configs,
        )
    )
    address, port = None, None
    if config.rdzv_backend == "static":
        address, port = parse_rendezvous_endpoint(config.rdzv_endpoint, default_port=29500)
    newer: dict[str, Any] = {"numa_options": config.numa_options} if hasattr(config, "numa_options") else {}
    spec = WorkerSpec(
        role=config.role,
        local_world_size=config.nproc_per_node,
        rdzv_handler=handler,
        entrypoint=command[0],
        args=tuple(word.replace("$", "$$") for word in command[1:]),  # the agent replaces ${local_rank}
        max_restarts=config.max_restarts,
        monitor_interval=_WATCH_S,
        master_addr=address,
        master_port=port,
        local_addr=config.local_addr,
        **newer,
    )
    return _Agent(spec, config.logs_specs or DefaultLogsSpecs(), log), handler.shutdown


_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP, signal.SIGQUIT] if hasattr(signal, "SIGHUP") else []))
"""The signals for which torch's agent installs handlers of its own."""


class _NoRestart(Exception):
    """The processes failed, and would fail again: leaves `run` of torch's agent, which ends those that are left."""


class _Agent(LocalElasticAgent):
    """torch's agent, which passes signals on, remembers why its processes failed, and knows what is not to be repeated.

    Attributes:
        failure: why they last failed.
        signals: how many signals have asked for a stop.
    """

    def __init__(self, spec: WorkerSpec, logs: Any, log: Log) -> None:
        super().__init__(spec, logs)
        self.failure: Failure | None = None
        self.signals = 0
        self._say, self._starts, self._failures, self._ids = log, 0, 0, list[int]()
        self._ignored = {number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN}

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        os.environ[ATTEMPT] = str(self._starts)
        self._starts += 1
        started = super()._start_workers(worker_group)
        self._ids = list(started.values())
        self._take_signals()
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if result.is_failed():
            size = worker_group.workers[0].world_size
            self.failure = first_failure(result.failures, size)
            if self.failure.final or self.signals:
                raise _NoRestart
            self._failures += 1
            number, restarts = self._failures, worker_group.spec.max_restarts
            if number <= restarts:
                self._say(self.failure.message.rstrip())
                self._say(f"all {size} processes start again from the last checkpoint (restart {number} of {restarts})")
        return result

    def _take_signals(self) -> None:
        """Pass signals on to the processes; torch's own handlers end the agent, and the processes after 30 s."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in self._ignored else self._pass_on)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        for process in self._ids:
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(process) == process:  # it is the one that was started, which leads a session
                    os.kill(process, signal.SIGTERM)


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """A context with more variables in the environment, which the processes inherit."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """A context without the agent's log: what it says of signals and exit codes, `run_agent` says once."""
    loggers = [logging.getLogger(f"torch.distributed.{name}") for name in ("elastic", "run")]
    silent = logging.NullHandler()
    for logger in loggers:
        logger.addHandler(silent)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(silent)
            logger.propagate = True
