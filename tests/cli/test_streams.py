"""`hutch serve` started with standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from tests.watching import wait_until

STARTED = {
    "no output": "exec >&-",
    "no log": "exec 2>&-",
    "none at all": "exec <&- >&- 2>&-",
    "a reader that has gone": "exec > >(true); wait $!",
    "a full disk": "exec >/dev/full 2>/dev/full",
}


@pytest.mark.parametrize("streams", STARTED.values(), ids=STARTED)
def test_the_server_serves_and_ends_in_order(tmp_path: Path, streams: str) -> None:
    ready, state = tmp_path / "ready.json", tmp_path / "state"
    script = f'{streams}; exec "$@"'
    words = [sys.executable, "-m", "hutch.cli", "serve", "--port=0"]
    options = [f"--state-dir={state}", f"--ready-file={ready}"]
    with subprocess.Popen(["bash", "-c", script, "bash", *words, *options]) as process:
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None)
            assert process.poll() is None
            told = json.loads(ready.read_text())
            bearer = {"Authorization": f"Bearer {(state / 'token').read_text().strip()}"}
            for _ in range(3):  # each is a line of the log
                assert httpx2.get(f"{told['url']}/health").json() == {"status": "ok"}
            asked = {"cmd": ["sh", "-c", "echo out; echo err >&2"]}
            done = httpx2.post(f"{told['url']}/exec", json=asked, headers=bearer).json()
            assert (done["stdout"], done["stderr"]) == ("out\n", "err\n")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
