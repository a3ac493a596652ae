"""Rows of batches: taken, joined, exchanged, and made group by group."""

from dataclasses import dataclass

import pytest
import torch

from foveal_env.batch import Batch, Columns


@dataclass(frozen=True)
class Inner(Batch):
    value: torch.Tensor


@dataclass(frozen=True)
class Outer(Batch):
    number: torch.Tensor
    inner: Inner


def numbered(*values):
    number = torch.tensor(values, dtype=torch.int64)
    return Outer(number, Inner(number * 10))


def test_rows_and_joins_reach_batches_inside():
    joined = Outer.cat([numbered(1, 2, 3).rows([2, 0]), numbered(4)])
    assert joined.number.tolist() == [3, 1, 4]
    assert joined.inner.value.tolist() == [30, 10, 40]


def test_rows_are_exchanged_where_that_is_asked():
    mixed = numbered(1, 2, 3).replaced(torch.tensor([True, False, True]), numbered(7, 8))
    assert mixed.inner.value.tolist() == [70, 20, 80]


def test_rows_are_put_except_in_the_fields_that_stay():
    mixed = numbered(1, 2, 3).put(torch.tensor([2, 0]), numbered(7, 8), but=("inner",))
    assert mixed.number.tolist() == [8, 2, 7]
    assert mixed.inner.value.tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("group", "calls"),
    [([2, 0, 2, 1, 0], [0, 1, 2]), ([1, 1], [1]), ([], [0])],
    ids=["three groups", "one group", "no rows"],
)
def test_a_batch_made_by_group_has_its_rows_in_order(group, calls):
    group, made = torch.tensor(group, dtype=torch.int64), []

    def make(number, rows):
        made.append(number)
        assert (group[rows] == number).all()
        return numbered(*rows.tolist())

    batch = Outer.by_group(group, make)
    assert made == calls
    assert batch.number.tolist() == list(range(len(group)))
    assert batch.inner.value.tolist() == [10 * row for row in range(len(group))]


def test_columns_are_rows_by_name():
    columns = Columns({"a": torch.arange(3), "b": torch.arange(3) * 2})
    assert Columns.cat([columns.rows([2]), columns.to("cpu")]).columns["b"].tolist() == [4, 0, 2, 4]
