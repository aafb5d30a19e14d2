"""Faults of memory in the library that no record can reach, but a damaged row, a full sum or a signal could."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from usage_log import event

from streamapp.errors import Misconfigured
from streamapp.lane.build import LIBRARY, SOURCES, compiler
from streamapp.lane.ids import CompactSeen
from streamapp.lane.library import Period, Run, library
from streamapp.lane.records import payload_of
from streamapp.meters.calls.lane import CompiledCalls
from streamapp.meters.usage.lane import CompiledHours
from tables.calls.settlement import Account, CallsKey, Payment
from tables.seen import StoredIds
from tables.usage.hourly import HourKey
from tables.window import HOUR_MS

SECRET = bytes(16)


def compiled(text: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What the compiler says of a source that includes ours."""
    source = folder / "source.c"
    source.write_text(text, encoding="utf-8")
    command = compiler()
    assert command is not None
    return subprocess.run(
        [*command, "-std=c11", f"-I{SOURCES}", *options, str(source)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("secret", "digests", "prints"),
    [(SECRET, 160, 8), (SECRET, 16, 0), (SECRET, 17, 8), (SECRET, 16, 7), (b"short", 16, 8), (b"", 0, 8)],
)
def test_a_stored_row_that_is_short_is_refused_and_not_read_beyond(secret: bytes, digests: int, prints: int) -> None:
    seen = CompactSeen(SECRET)
    with pytest.raises(Misconfigured, match="restore the table's changelog"):
        seen.restore(0, StoredIds(secret, {HOUR_MS: (bytes(digests), bytes(prints))}), 0)
    assert len(seen) == 0


def test_a_cost_that_cannot_be_added_up_leaves_no_row_behind() -> None:
    calls = CompiledCalls(CompactSeen(SECRET), 0, 1, 0)
    calls.open(0, 24 * HOUR_MS)
    key = CallsKey(0, Account("org", "agent", "consumer", "AI"))
    with pytest.raises(OverflowError):
        calls.add(key, "method", Decimal(10) ** 26, 1, Payment("hanzo", 1, None, None))
    assert (len(calls), calls.changed(), list(calls.rows())) == (0, {}, [])
    hours = CompiledHours(CompactSeen(SECRET), 0, 1, 0)
    hours.open(0, 24 * HOUR_MS)
    with pytest.raises(OverflowError):
        hours.add(HourKey(0, "org", "team", "USD"), ("p", "m"), (1, 0, 0, 1, 1, Decimal(10) ** 26, 0, 0), 1)
    assert (len(hours), hours.changed(), hours.close(0)) == (0, {}, [])


def test_an_hour_that_is_closed_before_it_is_taken_takes_its_counts_along() -> None:
    record, seen = event("10:30"), CompactSeen(SECRET)
    c, payload = library(), payload_of([record])
    lane = ctypes.c_void_p(c.usage_new(seen.handle, 0, 1, 0, 1 << 30))
    hour_ms = record.timestamp - record.timestamp % HOUR_MS
    assert c.lane_open(lane, hour_ms, hour_ms // HOUR_MS + 26, 1) == 1
    run = Run(-1, 1 << 62, 0)
    assert c.lane_run(lane, payload.data, payload.parts, 0, 1, ctypes.byref(run)) == 1
    start = ctypes.c_void_p()
    period, following = Period(b"type", b"start", b"end", b"id"), ctypes.c_int64()
    told = ctypes.byref(period), ctypes.byref(following), ctypes.byref(start)
    assert c.bill_closed(lane, hour_ms, *told) > 0
    assert following.value == 1
    following.value = 0
    c.lane_close(lane, hour_ms)
    assert c.rows_count(lane) == 0
    assert c.rows_changed(lane, ctypes.byref(start)) == 0
    assert c.rows_of(lane, hour_ms, ctypes.byref(start)) == 0
    assert c.bill_closed(lane, hour_ms, *told) == 0
    c.lane_free(lane)


def test_a_machine_that_is_big_endian_is_refused_by_the_compiler(tmp_path: Path) -> None:
    big = ("-U__BYTE_ORDER__", "-D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__", "-fsyntax-only")
    for header in ("base/hash.h", "read/text.h", "read/batch.h", "base/pack.h"):
        said = compiled(f'#include "{header}"\n', tmp_path, *big)
        assert said.returncode != 0
        assert "little-endian" in said.stderr


@pytest.mark.parametrize("fields", [32, 33])
def test_a_table_with_more_fields_than_bits_does_not_compile(fields: int, tmp_path: Path) -> None:
    table = " ".join(f"FIELD(IN, field_{number}, FLAG, 0, 0, 0, NULL, 0)" for number in range(fields))
    said = compiled(
        f"""#include "read/event.c"
        #define MANY(FIELD, IN) {table}
        EVENT_TYPE(many, MANY);
        EVENT(many, LLM_USAGE, MANY);
        """,
        tmp_path,
        "-fsyntax-only",
    )
    assert (said.returncode == 0) == (fields == 32), said.stderr
    assert fields == 32 or "more fields" in said.stderr


def test_a_signal_during_a_write_or_a_read_loses_nothing(tmp_path: Path) -> None:
    shim = tmp_path / "shim.so"
    said = compiled(
        """#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <sys/types.h>
        static int calls;
        #define EVERY_OTHER(...) if (calls++ % 2 == 0) { errno = EINTR; return -1; }
        typedef ssize_t (*io_t)(int, void *, size_t, off_t);
        ssize_t pwrite(int f, const void *b, size_t n, off_t o) {
            EVERY_OTHER() return ((io_t)dlsym(RTLD_NEXT, "pwrite"))(f, (void *)b, n, o); }
        ssize_t pread(int f, void *b, size_t n, off_t o) {
            EVERY_OTHER() return ((io_t)dlsym(RTLD_NEXT, "pread"))(f, b, n, o); }
        ssize_t __pread_chk(int f, void *b, size_t n, off_t o, size_t room) { (void)room; return pread(f, b, n, o); }
        """,
        tmp_path,
        "-shared",
        "-fPIC",
        "-o",
        str(shim),
    )
    assert said.returncode == 0, said.stderr
    program = (
        "import sys; from pathlib import Path; from streamapp.lane.ids import CompactSeen\n"
        "seen = CompactSeen(bytes(16), Path(sys.argv[1]), 100)\n"
        "for n in range(5000): seen.add(f'id-{n}', b'', 3600000)\n"
        "assert seen.in_memory < 2000, seen.in_memory\n"
        "assert all(seen.look(f'id-{n}', b'') == 1 for n in range(5000))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={"LD_PRELOAD": str(shim), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_library_is_hardened() -> None:
    """A canary behind arrays, checked copies, and tables of pointers that are read-only once it is loaded."""
    content = LIBRARY.read_bytes()
    assert b"__stack_chk_fail" in content
    assert b"_chk\0" in content
    shown = subprocess.run(["readelf", "-dlW", str(LIBRARY)], capture_output=True, text=True, check=True).stdout
    assert "GNU_RELRO" in shown
    assert "BIND_NOW" in shown or "NOW" in shown
