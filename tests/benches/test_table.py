"""The figures of a bench: medians of ratios, verdicts, the table. Nothing here looks at a clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from benches.__main__ import main
from benches.record import DISTURBED, UNCHECKED, Run, keep, report
from benches.rows import ROWS
from benches.rows.small import pressed
from benches.table import Outcome, Promise, Unit, figure, markdown
from benches.timing import Side, interleave, median_of_ratios, process
from benches.trees import _without_packaging

TWICE = Promise(2.0, "x", "the floor")


def test_rounds_are_interleaved_and_the_first_is_not_measured() -> None:
    ran: list[str] = []

    def side(name: str) -> Side:
        def run() -> float:
            ran.append(name)
            return float(len(ran))

        return Side(name, run)

    samples = interleave([side("a"), side("b")], 2)
    assert ran == ["a", "b"] * 3
    assert samples == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_ratios_are_taken_within_a_round() -> None:
    # The machine halves its speed in the second round: the ratio does not move.
    samples = {"ours": [10.0, 20.0, 12.0], "floor": [5.0, 10.0, 5.0]}
    assert median_of_ratios(samples, "ours", "floor") == 2.0
    assert median_of_ratios({"a": [1.0, 9.0, 2.0], "b": [1.0, 1.0, 1.0]}, "a", "b") == 2.0


def test_a_side_of_one_round_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        median_of_ratios({"a": [1.0, 2.0], "b": [1.0]}, "a", "b")


def test_a_program_that_fails_is_no_sample() -> None:
    assert process("true", "true").run() > 0
    with pytest.raises(RuntimeError, match="false exited with 1"):
        process("false", "false").run()


@pytest.mark.parametrize(
    ("promise", "measured", "verdict"),
    [
        (TWICE, 2.0, "kept"),
        (TWICE, 2.01, "missed"),
        (TWICE, None, "not measured"),
        (None, None, "not measured"),
        (Promise(0.7, "x", at_least=True), 0.7, "kept"),
        (Promise(0.7, "x", at_least=True), 0.69, "missed"),
    ],
)
def test_verdicts(promise: Promise | None, measured: float | None, verdict: str) -> None:
    assert Outcome("row", "what", promise, measured=measured).verdict == verdict


def test_sides_that_saw_different_things_are_wrong_whatever_the_ratio() -> None:
    assert Outcome("row", "what", TWICE, measured=1.0, wrong="1 lost").verdict == "wrong"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234, "x", "1.23 x"),
        (3.04, "ms", "3.0 ms"),
        (131.4, "ms", "131 ms"),
        (64, "MiB", "64 MiB"),
    ],
)
def test_figures(value: float, unit: Unit, text: str) -> None:
    assert figure(value, unit) == text


def test_the_table_has_a_line_a_row_and_marks_what_is_not_kept() -> None:
    kept = Outcome(
        "stream",
        "a | b",
        TWICE,
        measured=1.5,
        spread=(1.4, 1.6),
        ours="15 ms",
        beside={"floor": "10 ms (1.50 x)"},
        notes=["84,000 entries"],
    )
    lines = markdown([kept, Outcome("small", "what", TWICE, measured=3.0)]).splitlines()
    assert len(lines) == 4
    assert lines[2] == (
        "| stream | a \\| b | ≤ 2.00 x the floor | 1.50 x (1.40 to 1.60) | kept | 15 ms "
        "| floor 10 ms (1.50 x) | 84,000 entries |"
    )
    assert "| **missed** |" in lines[3]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([], UNCHECKED),
        ([Outcome("floors", "what", TWICE, measured=1.0)], ""),
        ([Outcome("floors", "what", TWICE, measured=2.5)], DISTURBED),
    ],
)
def test_a_run_says_whether_its_floors_count(outcomes: list[Outcome], state: str) -> None:
    run = _run(outcomes)
    assert run.state == state
    assert state in report(run)


def test_a_run_is_written_beside_earlier_ones_and_holds_every_sample(tmp_path: Path) -> None:
    outcome = Outcome("stream", "what", TWICE, measured=1.0, samples={"ours": [1.00049, 2.0]})
    first = keep(_run([outcome]), tmp_path, "box-2-cores")
    second = keep(_run([outcome]), tmp_path, "box-2-cores")
    assert [one.name for one in (*first, *second)] == [
        "2026-11-25-box-2-cores.md",
        "2026-11-25-box-2-cores.json",
        "2026-11-25-box-2-cores-2.md",
        "2026-11-25-box-2-cores-2.json",
    ]
    rows = json.loads(first[1].read_text())["rows"]
    assert rows[0]["samples"] == {"ours": [1.0, 2.0]}
    assert rows[0]["verdict"] == "kept"


def _run(outcomes: list[Outcome]) -> Run:
    began = datetime(2026, 11, 25, 12, tzinfo=UTC)
    return Run(began, "python -m benches", "", {"cores": "2"}, outcomes)


def test_every_row_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    assert len(capsys.readouterr().out.splitlines()) == len(ROWS)
    assert all(row.__doc__ for row in ROWS.values())


@pytest.mark.parametrize("words", [["--rows", "nonsense"], ["--rounds", "0"], ["--rounds", "x"]])
def test_options_that_mean_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)


def test_what_the_pressing_client_prints_is_read() -> None:
    told = pressed(b"900 1800.5 500 2500 9000\n")
    assert (told.requests, told.rate, told.p50_ms, told.p99_ms, told.most_ms) == (
        900,
        1800.5,
        0.5,
        2.5,
        9.0,
    )


def test_debians_section_is_cut_from_the_kernels_rules() -> None:
    ours = "*.o\n/vmlinux\n"
    packaging = "\n#\n# Debian packaging: ignore everything\n#\n/*\n!/debian/\n"
    assert _without_packaging(ours + packaging) == ours
    assert _without_packaging(ours) == ours
    with pytest.raises(ValueError, match="hides everything"):
        _without_packaging("/*\n")
