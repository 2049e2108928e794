"""The development server under many requests at a time, some of them malformed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from support.malformed import KINDS
from support.model_server import BLUE, LIMITS, RED, process_of
from support.soak import soak

from keras_vit.serving import ModelServer

MIB = 2**20


@pytest.fixture
def expected(session):
    return session.run({"image_bytes": [RED, BLUE]})["scores"]


def test_no_request_is_lost(folder, expected):
    pytest.importorskip("tensorflow_serving.apis")
    limits = dataclasses.replace(LIMITS, timeout=60.0)
    quick = [kind for kind in KINDS if kind.status != 408]
    with ModelServer(folder, rest_port=0, grpc_port=0, limits=limits) as server:
        result = soak(server, expected, 200, quick)
    assert result.wrong == []
    assert result.answers == 200


@pytest.mark.slow  # 10,000 requests
def test_no_request_is_lost_and_the_memory_stays(folder, expected):
    pytest.importorskip("tensorflow_serving.apis")
    limits = dataclasses.asdict(dataclasses.replace(LIMITS, timeout=10.0))
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in limits.items()]
    with process_of(folder, "--grpc-port=0", *flags) as (process, server):
        # What is made once and kept: threads, buffers, the first run of each signature.
        assert soak(server, expected, 1000, seed=1).wrong == []
        start = resident(process.pid)
        result = soak(server, expected, 10_000)
        end = resident(process.pid)
    print(
        f"{10_000 / result.seconds:.0f} requests/s, {result.kinds} kinds of malformed ones; "
        f"memory {start / MIB:.0f} MiB at the start, {end / MIB:.0f} MiB at the end"
    )
    assert result.wrong == []
    assert result.answers == 10_000
    assert result.kinds == len(KINDS) >= 57
    assert end < start + 64 * MIB  # 10 KB of each request would be 100 MB


def resident(pid: int) -> int:
    """Bytes that are resident in a process."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        pytest.skip("needs /proc, which only Linux has")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024
