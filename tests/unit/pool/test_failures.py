"""What is known of a failing server: in a row, of whose requests, against how many answers."""

from __future__ import annotations

import itertools

import pytest

from tests.support.tables import table_memory, table_of
from trio_lb.fast.table import ALIVE, DEAD, Failures, Table
from trio_lb.pool.evidence import Evidence

WINDOW = 8.192
START = 16 * WINDOW  # the beginning of a window


def workers(count: int) -> tuple[list[Table], list[Failures]]:
    """So many processes at one table with a server."""
    memory = table_memory(1, count)
    tables = [Table(memory, row) for row in range(count)]
    tables[0].add()
    return tables, [Failures(table) for table in tables]


def add(
    failures: Failures, now: float, client: int = 1, confirmed: bool = False, life: int = 1
) -> Evidence:
    found = failures.add(0, life, now, client, confirmed)
    assert found is not None
    return Evidence(*found)


def test_failures_in_a_row_end_with_an_answer() -> None:
    table = table_of([1])
    failures = Failures(table)
    assert [add(failures, 1.0).in_a_row for _ in range(3)] == [1, 2, 3]
    table.answered(0, 1.0, 0.1)
    assert [add(failures, 1.0).in_a_row for _ in range(2)] == [1, 2]


def test_they_are_those_of_all_processes() -> None:
    tables, failures = workers(3)
    found = [add(failures[row], 1.0 + row) for row in (0, 1, 2, 1)]
    assert [each.in_a_row for each in found] == [1, 2, 3, 4]
    tables[2].answered(0, 9.0, 0.1)  # in another one, but an answer all the same
    assert add(failures[0], 10.0).in_a_row == 1
    assert add(failures[1], 11.0).in_a_row == 2


def test_failures_are_no_answers() -> None:
    tables, failures = workers(2)
    for second in range(1, 4):
        for table in tables:
            table.failed(0, float(second), 0.5)
        assert add(failures[second % 2], float(second)).in_a_row == second
    found = failures[0].add(0, 1, 4.0, 1, False, 0.5)
    assert found is not None
    assert Evidence(*found).silent


def test_an_error_is_an_answer() -> None:
    tables, failures = workers(2)
    add(failures[0], 1.0)
    tables[1].answered(0, 2.0, 0.1, 500)
    assert add(failures[0], 3.0).in_a_row == 1


def test_failures_of_one_client_are_told_from_those_of_several() -> None:
    _, failures = workers(2)
    assert not add(failures[0], 1.0, client=1).several_clients
    assert not add(failures[1], 1.0, client=1).several_clients
    assert add(failures[0], 1.0, client=65535).several_clients
    assert add(failures[0], 1.0, client=1).several_clients
    _, failures = workers(2)
    add(failures[0], 1.0, client=1)
    assert add(failures[1], 1.0, client=2).several_clients


def test_confirmed_ones_are_counted_apart() -> None:
    _, failures = workers(2)
    found = [
        add(failures[row], 1.0, confirmed=confirmed)
        for row, confirmed in ((0, True), (1, False), (1, True))
    ]
    assert [(each.in_a_row, each.confirmed) for each in found] == [(1, 1), (2, 1), (3, 2)]


def test_a_life_s_failures_are_its_own() -> None:
    tables, failures = workers(2)
    add(failures[0], 1.0)
    add(failures[1], 1.0)
    tables[1].move(0, ALIVE, DEAD)
    assert add(failures[0], 1.0).in_a_row == 3
    tables[0].move(0, DEAD, ALIVE)
    assert failures[0].add(0, 1, 1.0, 1, False) is None  # of the life before
    assert add(failures[0], 1.0, life=2).in_a_row == 1
    assert add(failures[1], 1.0, life=2).in_a_row == 2


def test_what_a_dead_process_has_seen_is_forgotten() -> None:
    tables, failures = workers(2)
    tables[1].acquire(0)
    for now in (START, START + 0.1):
        tables[1].answered(0, now, 0.1)
    add(failures[1], START + 1)
    tables[0].retire(1)
    found = add(failures[0], START + 2)
    assert (found.in_a_row, found.answers) == (1, 0)


@pytest.mark.parametrize(("later", "answers"), [(0, 8), (1, 8), (8, 8), (12.288, 4), (16.384, 0)])
def test_answers_of_the_last_seconds(later: float, answers: int) -> None:
    """Those of the window before count for the part that is not over yet."""
    tables, failures = workers(2)
    for number in range(8):
        tables[number % 2].answered(0, START + number / 1000, 0.1)
    assert add(failures[0], START + 0.1 + later).answers == pytest.approx(answers, abs=1)


def test_answers_of_long_ago_do_not_count() -> None:
    for windows in (2, 3, 4095, 10_000):
        table = table_of([1])
        table.answered(0, START, 0.1)
        assert add(Failures(table), START + windows * WINDOW).answers == 0


@pytest.mark.parametrize(
    ("answer", "silent"), [(None, True), (1.0, True), (5.0, True), (5.001, False), (9.0, False)]
)
def test_a_server_that_answers_others_is_not_silent(answer: float | None, silent: bool) -> None:
    tables, failures = workers(2)
    if answer is not None:
        tables[1].answered(0, answer, 0.1)
    found = failures[0].add(0, 1, 10.0, 1, False, 5.0)
    assert found is not None
    assert Evidence(*found).silent is silent
    assert not add(failures[0], 10.0).silent  # it was not waited for


@pytest.mark.parametrize("days", [10, 30, 45])
def test_an_answer_of_weeks_ago_is_none_in_between(days: int) -> None:
    table = table_of([1])
    failures = Failures(table)
    table.answered(0, 1.0, 0.1)
    now = 1.0 + days * 86400
    assert [add(failures, now + second).in_a_row for second in range(3)] == [1, 2, 3]
    found = failures.add(0, 1, now + 10, 1, False, now)
    assert found is not None
    assert Evidence(*found).silent


@pytest.mark.parametrize("client", [0, 65536])
def test_a_number_that_is_no_client_s_is_refused(client: int) -> None:
    with pytest.raises(ValueError, match="a client's number is 1 to 65535"):
        Failures(table_of([1])).add(0, 1, 1.0, client, False)


def test_what_is_enough() -> None:
    """Three in a row, of several clients or confirmed, and more than a tenth or all silent."""
    for in_a_row, confirmed, several, answers, silent in itertools.product(
        (1, 2, 3, 4), (0, 2, 3), (False, True), (0, 26, 27, 10_000), (False, True)
    ):
        evidence = Evidence(in_a_row, confirmed, several, answers, silent)
        share = 10 * in_a_row > in_a_row + answers
        whose = several or confirmed == 3
        assert evidence.enough is (in_a_row >= 3 and whose and (silent or share)), evidence
