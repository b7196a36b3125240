"""Schedules of the user's own: what LRScheduler is for."""

import dataclasses

import lrax
from registry.entry import Entry
from registry.rows import FORMULA, RATES


class Halving(lrax.LRScheduler):
    """A subclass that defines ``get_lr()`` only."""

    def get_lr(self):
        return [lr * 0.5 ** (self.last_epoch.value / 20) for lr in self.base_lrs]


@dataclasses.dataclass(frozen=True)
class InverseTime(lrax.Formula):
    """A formula."""

    rate: float

    def raw(self, t, base, x):
        return base / (1 + self.rate * t)


OWN = Entry(
    name="LRScheduler",
    label="a formula",
    kind=lambda b: lrax.LRScheduler(b, formula=InverseTime(0.1)),
    more_kinds={"a subclass": lambda b: Halving(b)},
    classes=[Halving, InverseTime],
    refuses={"base_lr": RATES, "formula": FORMULA},
    valid={"": {"formula": InverseTime(0.1)}},
    exact=None,
    end=None,
)
