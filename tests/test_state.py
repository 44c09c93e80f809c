"""Where a server keeps what outlives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hutch.state import default_state_dir


def test_the_state_directory_is_roots_or_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_state_dir() == Path("/var/lib/hutch")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_state_dir() == Path("/somewhere/hutch")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state_dir() == tmp_path / ".local/state/hutch"
