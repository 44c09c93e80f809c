"""The log of `hutch serve`: it holds nobody up, and says what it lost."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from hutch.cli.log import PatientHandler


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def _logger(descriptor: int) -> logging.Logger:
    logger = logging.Logger("test")
    logger.addHandler(PatientHandler(descriptor))
    return logger


def test_lines_arrive_whole(pipe: tuple[int, int]) -> None:
    logger = _logger(pipe[1])
    logger.info("one")
    logger.info("two \ud800 %s", "x" * 10_000)
    lines = os.read(pipe[0], 65536).split(b"\n")
    assert lines == [b"one", b"two \\ud800 " + b"x" * 10_000, b""]


def test_a_full_pipe_blocks_nobody_and_the_loss_is_told(pipe: tuple[int, int]) -> None:
    logger = _logger(pipe[1])
    for _ in range(1000):
        logger.info("x" * 200)
    kept = os.read(pipe[0], 1 << 20).count(b"\n")
    assert 0 < kept < 1000
    logger.info("afterwards")
    lost = 1000 - kept
    assert os.read(pipe[0], 65536) == (
        f"{lost} log lines were lost: nobody read them\nafterwards\n".encode()
    )


def test_a_reader_that_has_gone_breaks_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    _logger(writing).info("nobody hears")
    os.close(writing)


def test_a_server_whose_log_nobody_reads_goes_on(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    options = ["--port=0", f"--state-dir={tmp_path / 'state'}", f"--ready-file={ready}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hutch.cli", "serve", *options], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        url = httpx2.Response(200, content=ready.read_bytes()).json()["url"]
        with httpx2.Client(base_url=url, timeout=10) as client:
            for number in range(1000):
                client.get(f"/health/{'x' * 300}/{number}")
            assert client.get("/health").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert process.stderr is not None
        process.stderr.close()
