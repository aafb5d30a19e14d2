"""One run: a fresh copy of the broker, the contender's processes, samples until it has finished, the check."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench.contender import Command, Contender, Missing, Run, records_of
from bench.load import PROJECT, ROOM, Prepared, broker
from bench.measure import Figures, Sample, figures
from bench.oracle import differences
from bench.proc import use_of
from streamapp.processes.child import LAUNCH

PERIOD_S = 0.1
STILL_S = 60  # a contender that commits nothing for so long is given up
ASK_S = 1.0
RUN_S = 1_200  # and so is one that needs longer for all
LINGER_S = 1.5  # after its last commit, for what it states behind it
STOP_S = 20
TAIL_LINES = 15

OnProgress = Callable[[int, int], None]


def run_once(contender: Contender, prepared: Prepared, progress: OnProgress) -> Figures:
    """Run a contender over the prepared topic, check its answer, and leave nothing behind but its logs."""
    folder = ROOM / "run" / contender.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared.template, folder / "broker")
    try:
        with broker(folder / "broker") as running:
            run = Run(running.bootstrap, folder)
            with started(
                contender.commands(run), contender.environment(run), folder, contender.stop, contender.home
            ) as processes:
                watch = Watch(contender, prepared, running.bootstrap, running.pid or 0, processes, folder)
                with closing(watch):
                    samples = list(watch.samples(prepared.shape.records, progress))
                if not contender.ends_itself:
                    time.sleep(LINGER_S)
            got = contender.answer(records_of(running.bootstrap))
            return figures(samples, differences(prepared.expected, got))
    finally:
        shutil.rmtree(folder / "broker", ignore_errors=True)


@contextmanager
def started(
    commands: tuple[Command, ...],
    environment: Mapping[str, str],
    folder: Path,
    stop: signal.Signals,
    home: Path = PROJECT,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes, each in a session of its own and with a log; ended when the block is left."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, command in enumerate(commands, 1):
            with (folder / f"{number}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-ISc", LAUNCH, str(os.getpid()), *command],  # ends when we do
                        cwd=home,
                        env={**os.environ, **environment},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        yield processes
    finally:
        for process in processes:
            _signal(process, stop)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


class Watch:
    """Looks at a contender from outside: its committed offsets, its processes, the broker."""

    def __init__(
        self,
        contender: Contender,
        prepared: Prepared,
        bootstrap: str,
        broker_pid: int,
        processes: list[subprocess.Popen[bytes]],
        folder: Path,
    ) -> None:
        self._contender = contender
        # Joins no group: it only asks for the group's offsets.
        config = {"bootstrap.servers": bootstrap, "group.id": contender.group, "log_level": 2}
        self._consumer = Consumer(config)
        self._partitions = [TopicPartition(prepared.source, number) for number in range(prepared.partitions)]
        self._broker_pid = broker_pid
        self._processes = processes
        self._folder = folder

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def samples(self, records: int, progress: OnProgress) -> Iterator[Sample]:
        """A sample every now and then until all records are done. Raises RuntimeError when that will not happen."""
        done, moved_s = 0, time.monotonic()
        began_s = moved_s
        yield self._sample(0)
        while True:
            sample = self._sample(self.committed())
            yield sample
            if sample.done > done:
                done, moved_s = sample.done, sample.at_s
                progress(done, records)
            ended = [process for process in self._processes if process.poll() is not None]
            if done >= records and (ended or not self._contender.ends_itself):
                return
            if ended and not (self._contender.ends_itself and ended[0].returncode == 0):
                raise RuntimeError(f"{self._contender.name} ended with {ended[0].returncode}: {self._tail()}")
            if sample.at_s - moved_s > STILL_S or sample.at_s - began_s > RUN_S:
                raise RuntimeError(f"{self._contender.name} stopped at {done:,} of {records:,}: {self._tail()}")
            time.sleep(PERIOD_S)

    def committed(self) -> int:
        """Records below the committed offsets."""
        try:
            answer = self._consumer.committed(self._partitions, timeout=ASK_S)
        except KafkaException:
            return 0  # the coordinator is just being made
        return sum(max(0, position.offset) for position in answer)

    def _sample(self, done: int) -> Sample:
        use = use_of([process.pid for process in self._processes])
        return Sample(time.monotonic(), done, use.cpu_us, use.rss_bytes, use_of([self._broker_pid]).cpu_us)

    def _tail(self) -> str:
        lines: list[str] = []
        for path in sorted(self._folder.glob("*.log")):
            lines += [f"{path.name}:", *path.read_text(errors="replace").splitlines()[-TAIL_LINES:]]
        return "\n".join(lines)


__all__ = ["Missing", "run_once", "started"]
