"""The registry is complete: each public scheduler has an entry, and each entry all that the tests need."""

import dataclasses

import pytest

import exact
import lrax
import registry


def test_every_scheduler_is_in_the_registry():
    assert not list(registry.missing())


class ForgottenLR(lrax.LRScheduler):
    def __init__(self, base_lr=0.1, factor=0.5, last_epoch=0):
        super().__init__(base_lr, last_epoch)

    def get_lr(self):
        return self.base_lrs


@pytest.fixture
def a_public_one(monkeypatch):
    monkeypatch.setattr(lrax, "ForgottenLR", ForgottenLR, raising=False)
    monkeypatch.setattr(lrax, "__all__", [*lrax.__all__, "ForgottenLR"])


def test_a_scheduler_without_an_entry_is_named(a_public_one):
    (said,) = registry.missing()
    assert said.startswith("ForgottenLR has no entry in tests/registry")


def test_what_an_entry_lacks_is_named(a_public_one, monkeypatch):
    bare = registry.Entry(
        name="ForgottenLR", kind=ForgottenLR, refuses={"base_lr": []}, exact=abs, end=None
    )
    monkeypatch.setitem(registry.ENTRIES, "ForgottenLR", bare)
    assert list(registry.missing()) == [
        "ForgottenLR.refuses has no factor",
        "ForgottenLR has no cases",
        "ForgottenLR has no boundaries",
        "ForgottenLR.draws (or undrawn) has no base_lr",
        "ForgottenLR.draws (or undrawn) has no factor",
    ]
    more = {"bas_lr": [], "factor": [], "base_lr": []}
    misspelt = dataclasses.replace(bare, refuses=more, exact=None)
    monkeypatch.setitem(registry.ENTRIES, "ForgottenLR", misspelt)
    assert list(registry.missing()) == ["ForgottenLR.refuses: there is no bas_lr"]
    with pytest.raises(TypeError, match="'exact' and 'end'"):
        registry.Entry(name="ForgottenLR", kind=ForgottenLR, refuses={})


def test_labels_are_of_one_scheduler_each():
    """Else one would hide the other."""
    for field in ("kinds", "variants", "cases", "empty", "not_smooth", "optax"):
        labels = [label for e in registry.ENTRIES.values() for label in getattr(e, field)]
        assert len(labels) == len(set(labels)), field
    for entry in registry.ENTRIES.values():
        assert {*entry.never_at_base, *entry.rough_in_float32} <= entry.cases.keys()


@pytest.mark.parametrize("name", registry.ENTRIES)
def test_an_entry_makes_its_own_scheduler(name):
    entry = registry.ENTRIES[name]
    for make in entry.kinds.values():
        assert isinstance(make(0.1), getattr(lrax, name))
    for arguments in entry.cases.values():
        assert type(entry.spec(arguments).build()) is getattr(lrax, name)
        assert exact.value(entry.spec(arguments), 3) >= 0
