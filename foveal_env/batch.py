"""The shape of all data here: a frozen dataclass of [B, ...] tensors, and of other such dataclasses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch

Rows = TypeVar("Rows", bound="Batch")


@dataclass(frozen=True)
class Batch:
    """Base of frozen dataclasses whose every field is a tensor [B, ...] or another `Batch` of the same B."""

    def rows(self: Rows, index: Any) -> Rows:
        """Return the rows at `index`, anything that indexes a tensor."""
        values = [getattr(self, field.name) for field in fields(self)]
        return type(self)(*[v.rows(index) if isinstance(v, Batch) else v[index] for v in values])

    @classmethod
    def cat(cls: type[Rows], parts: Sequence[Rows]) -> Rows:
        """Join batches, in order."""
        columns = [[getattr(part, field.name) for part in parts] for field in fields(cls)]
        return cls(*[type(c[0]).cat(c) if isinstance(c[0], Batch) else torch.cat(c) for c in columns])

    @classmethod
    def by_group(cls: type[Rows], group: torch.Tensor, make: Callable[[int, torch.Tensor], Rows]) -> Rows:
        """Make a batch one group of rows at a time, and put the rows back in order.

        Args:
            group: [B] int64, number of the group that each row belongs to; an empty batch is made as group 0. If it
                lies on another device than the CPU, that is waited for once.
            make: maps the number of a group and its rows [R] int64 to the batch of these rows.
        """
        device, group = group.device, group.cpu()
        numbers = group.unique().tolist() or [0]
        rows = [(group == number).nonzero().flatten() for number in numbers]
        parts = [make(number, row.to(device)) for number, row in zip(numbers, rows, strict=True)]
        return cls.cat(parts).rows(torch.cat(rows).argsort().to(device)) if len(parts) > 1 else parts[0]

    def to(self: Rows, device: torch.device | str) -> Rows:
        """Return the batch on `device`."""
        return type(self)(*[getattr(self, field.name).to(device) for field in fields(self)])

    def replaced(self: Rows, where: torch.Tensor, new: Rows) -> Rows:
        """Return the batch with its rows `where` [B] bool exchanged for those of `new`, in order."""
        own = torch.arange(len(where), device=where.device)
        order = torch.where(
            where, where.cumsum(0) - 1 + len(where), own
        )  # no look at `where`: the device need not wait
        return self.cat([self, new]).rows(order)

    def put(self: Rows, index: torch.Tensor, new: Rows, *, but: Sequence[str] = ()) -> Rows:
        """Return the batch with `new` at the rows `index` [R] int64, except in the fields named in `but`."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in but}
        return replace(self, **{name: _put(column, index, getattr(new, name)) for name, column in columns.items()})


@dataclass(frozen=True)
class Columns(Batch):
    """Tensors [B, ...] by name; the names depend on who made them."""

    columns: dict[str, torch.Tensor]

    def rows(self, index: Any) -> "Columns":
        """Return the rows at `index`."""
        return Columns({name: column[index] for name, column in self.columns.items()})

    @classmethod
    def cat(cls, parts: "Sequence[Columns]") -> "Columns":
        """Join batches, in order."""
        return Columns({name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns})

    def to(self, device: torch.device | str) -> "Columns":
        """Return the batch on `device`."""
        return Columns({name: column.to(device) for name, column in self.columns.items()})


def _put(column: Any, index: torch.Tensor, new: Any) -> Any:
    return column.put(index, new) if isinstance(column, Batch) else column.index_copy(0, index, new)
