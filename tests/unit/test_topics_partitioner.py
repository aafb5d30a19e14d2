"""`partition_for` is the Java client's partitioner."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from streamapp.topics.partitioner import murmur2, partition_for


@pytest.mark.parametrize(
    ("key", "signed"),
    [  # org.apache.kafka.common.utils.UtilsTest#testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_java_clients_values(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@given(key=st.binary(max_size=200), partitions=st.integers(1, 64))
def test_same_partition_as_aiokafka(key: bytes, partitions: int) -> None:
    assert murmur2(key) == reference(key) % 2**32
    assert partition_for(key, partitions) == (reference(key) & 0x7FFFFFFF) % partitions


@given(key=st.binary(max_size=50))
def test_one_partition_takes_everything(key: bytes) -> None:
    assert partition_for(key, 1) == 0
