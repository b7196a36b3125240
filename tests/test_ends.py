"""When a schedule is over, by walking through it; and the jumps of what rises at once."""

import random

import numpy as np
import pytest

import lrax

STEPS = 6000
"""As far as is walked: twice as far as expressions of this file last that come to an end."""
EPOCHS = np.arange(STEPS)
LATE = EPOCHS[STEPS // 2 :], np.arange(10**9, 10**9 + 1000)
"""Where members are compared that go on for ever: some of them fall slowly."""


def walked(scheduler):
    """The first epoch from which all learning rates are the same, of those that were walked."""
    rates = scheduler(EPOCHS)
    moves = np.flatnonzero(rates != rates[-1])
    return int(moves[-1]) + 1 if moves.size else 0


ENDING = [
    lambda r: lrax.LinearLR(r.uniform(0.05, 1), r.random(), r.choice([0.0, r.random()]), r.randint(0, 60)),
    lambda r: lrax.CosineAnnealingLR(r.uniform(0.05, 1), r.randint(1, 60), r.choice([0.0, 0.02])),
    lambda r: lrax.PolynomialLR(r.uniform(0.05, 1), r.randint(1, 60), 2.0, eta_min=r.choice([0.0, 0.1])),
    lambda r: lrax.WarmupScheduler(r.uniform(0.05, 1), r.randint(0, 30)),
    lambda r: lrax.MultiStepLR(r.uniform(0.05, 1), [3, 7, 30], 0.5),
    lambda r: lrax.ConstantLR(r.uniform(0.05, 1), r.choice([0.5, 1.0]), r.randint(0, 20)),
    lambda r: lrax.WSDSchedule(0.5, 5, 40, 10, r.choice(["linear", "constant"]), r.choice(["cosine", "constant"]), eta_min=0.1),
    lambda r: lrax.PiecewiseSchedule(0.5, [3, 9, 20], [0.2, r.random(), 0.4], r.choice(["linear", "constant"])),
    lambda r: lrax.ExponentialDecayLR(0.8, 5, 0.7, 3, r.random() < 0.5, 0.2),
    lambda r: lrax.OneCycleLR(0.5, r.randint(5, 40)),
    lambda r: lrax.CosineAnnealingWarmRestarts(0.5, 4, 2, 0.1, cycle_decay=0.5),  # until its peak is at its floor
    lambda r: lrax.CosineAnnealingWarmRestarts(0.5, 7, 1, cycle_limit=3, warmup_steps=2),
]  # fmt: skip

ENDLESS = [
    lambda r: lrax.ExponentialLR(r.uniform(0.05, 1), r.uniform(0.8, 0.95)),
    lambda r: lrax.ExponentialLR(1e-4, r.uniform(1.05, 1.5)),
    lambda r: lrax.StepLR(r.uniform(0.05, 1), r.randint(1, 9), 0.6),
    lambda r: lrax.ExponentialDecayLR(0.8, 5, 0.7, 3, r.random() < 0.5),
    lambda r: lrax.InverseSqrtLR(0.3, r.randint(0, 3), timescale=1.0, power=1.5),
    lambda r: lrax.TokenPowerLR(0.3, 1, a=1.0, power=1.0),
    lambda r: lrax.CyclicLR(0.1, r.uniform(0.2, 0.4), 3, 5),
    lambda r: lrax.CyclicLR(0.1, 0.4, 3, 5, mode="triangular2"),
    lambda r: lrax.CyclicLR(0.1, 0.4, 3, 5, mode="exp_range", gamma=0.9),
    lambda r: lrax.CosineAnnealingWarmRestarts(r.uniform(0.1, 0.4), 40, 1, 0.05, warmup_steps=r.choice([0, 2])),
    lambda r: lrax.CosineAnnealingWarmRestarts(0.4, 5, 1, cycle_decay=0.5),
    lambda r: lrax.LinearLR(0.3, 1.0, 0.5, 6).repeat(7, r.choice([1.0, 0.7])),
    lambda r: lrax.LinearLR(0.3, 1.0, 0.5, 6).with_warmup(2).repeat(9, r.choice([1.0, 1.2])),
    lambda r: lrax.MultiStepLR(0.3, [4, 6], 0.5).with_warmup(3, running=True).repeat(9),
]  # fmt: skip


class Unclear(Exception):
    """What this file does not know the end of."""


def bound(r, members):
    """A maximum or a minimum; what goes on for ever loses to what ends, or does not, as the late rates tell."""
    combine, sign = r.choice([(lrax.maximum, 1), (lrax.minimum, -1)])
    made = combine(*(member for member, _ in members))
    wins = {_wins(sign, members, epochs) for epochs in LATE}
    if None in wins or len(wins) > 1:
        raise Unclear
    return made, wins.pop()


def _wins(sign, members, epochs):
    """Whether one that ends is in front of all that go on for ever; None if it is close."""
    late = [(sign * member(epochs).astype(float), over) for member, over in members]
    ends = [rates[-1] for rates, over in late if over]
    others = [rates.max() for rates, over in late if not over]
    if not others or not ends:
        return not others
    winner, loser = max(ends), max(others)
    return winner > loser if abs(winner - loser) > 0.05 * abs(winner) else None


def joined(r, members):
    """A sum, product or chain: over when all are, or times what has come to 0."""
    schedulers = [member for member, _ in members]
    over = all(over for _, over in members)
    kind = r.choice(["sum", "product", "chain"])
    if kind == "sum":
        return sum(schedulers), over
    zero = any(over and member(STEPS) == 0 for member, over in members)
    if kind == "product":
        return schedulers[0] * schedulers[-1] * r.uniform(0.5, 2), over or zero
    if any(member.base_lrs[0] == 0 for member, _ in members):
        raise Unclear
    return lrax.ChainedScheduler(schedulers), over or zero


def shifted(r, scheduler, over):
    cooldown = (
        r.randint(0, 30),
        r.randint(0, 9),
        r.choice(["linear", "constant"]),
        r.choice([0.0, 0.1]),
    )
    return r.choice([
        lambda: (scheduler.delay(r.randint(0, 30)), over),
        lambda: (scheduler.stretch(r.choice([0.7, 1.0, 2.5])), over),
        lambda: (scheduler.with_warmup(r.randint(0, 9), r.choice(["linear", "constant"]), 0.01), over),
        lambda: (scheduler.with_warmup(r.randint(0, 9), running=True), over),
        lambda: (scheduler.with_cooldown(*cooldown), True),
        lambda: (scheduler.repeat(r.randint(1, 20), r.choice([1.0, 0.5]), 3), True),
        lambda: (lrax.SequentialLR([lrax.StepLR(0.1, 3), scheduler], [5]), over),
        lambda: (r.uniform(0.5, 2) * scheduler, over),
    ])()  # fmt: skip


def expression(r, depth):
    """A schedule, and whether it comes to an end."""
    if depth == 0:
        ending = r.random() < 0.5
        return r.choice(ENDING if ending else ENDLESS)(r), ending
    made, over = expression(r, depth - 1)
    kind = r.random()
    if kind < 0.4:
        return shifted(r, made, over)
    other, other_over = expression(r, r.randint(0, depth - 1))
    if kind < 0.8:
        number = lrax.ConstantLR(r.uniform(0.02, 1.0), 1.0, 0), True
        return bound(r, [(made, over), r.choice([(other, other_over), number])])
    if not over and not other_over:
        other, other_over = r.choice(ENDING)(r), True
    return joined(r, [(made, over), (other, other_over)])


@pytest.mark.parametrize("seed", range(300))
def test_the_end_of_an_expression_is_where_it_was_seen_to_end(seed):
    r = random.Random(seed)
    found = 0
    while found < 3:
        try:
            scheduler, over = expression(r, r.randint(1, 4))
            end = walked(scheduler)
        except (Unclear, ValueError):  # a chain of rates of 0, a base of 0 that is to be scaled
            continue
        if over and end > STEPS // 2:
            continue
        found += 1
        assert scheduler.total_steps == (end if over else None), scheduler
        if over and end and len(scheduler.boundaries) < 1000:
            assert scheduler.boundaries[-1] == end


def test_expressions_of_every_kind_were_seen():
    """Of those above many end though a part of them goes on for ever, and many never do."""
    r, kinds = random.Random(0), {"endless": 0, "ended by a bound": 0, "at once": 0}
    for _ in range(300):
        try:
            scheduler, over = expression(r, 2)
        except (Unclear, ValueError):
            continue
        goes_on = any(name in repr(scheduler) for name in ("ExponentialLR", "CyclicLR", "StepLR"))
        kinds["endless"] += not over
        kinds["ended by a bound"] += over and goes_on
        kinds["at once"] += over and walked(scheduler) == 0
    assert min(kinds.values()) > 10, kinds


E, GROWS = lambda: lrax.ExponentialLR(1.0, 0.5), lambda: lrax.ExponentialLR(1e-4, 2.0)

KNOWN = {
    "a floor": (lambda: lrax.maximum(E(), 0.1), 4),
    "a cap": (lambda: lrax.minimum(GROWS(), 0.1), 10),
    "cycles below a floor": (lambda: lrax.maximum(lrax.CyclicLR(0.1, 0.2), 0.3), 0),
    "cycles above a cap": (lambda: lrax.minimum(lrax.CyclicLR(0.1, 0.2), 0.05), 0),
    "cycles that reach a floor": (lambda: lrax.maximum(lrax.CyclicLR(0.1, 0.2), 0.15), None),
    "cycles of a user's": (lambda: lrax.maximum(lrax.CyclicLR(0.1, 0.2, scale_fn=lambda i: 1.0), 0.3), None),
    "stairs clipped": (lambda: lrax.StepLR(0.1, 3, 0.5).clip(0.01, 0.05), 12),
    "a root": (lambda: lrax.maximum(lrax.InverseSqrtLR(0.1, 4, timescale=1.0, eta_min=0.01), 0.02), 84),
    "a root that rises to its floor": (lambda: lrax.minimum(lrax.InverseSqrtLR(0.0, 0, 1.0, eta_min=0.1), 0.05), 3),
    "a root that never comes to its floor": (lambda: lrax.maximum(lrax.InverseSqrtLR(0.1, eta_min=0.01), 0.01), None),
    "tokens": (lambda: lrax.maximum(lrax.TokenPowerLR(0.1, 1, a=1.0, power=0.5), 0.01), 10**4),
    "restarts below a floor": (lambda: lrax.maximum(lrax.CosineAnnealingWarmRestarts(0.1, 5), 0.2), 0),
    "restarts with a peak at their floor": (lambda: lrax.CosineAnnealingWarmRestarts(0.1, 5, 2, 0.05, cycle_decay=0.5), 5),
    "restarts with a peak at 0": (lambda: lrax.CosineAnnealingWarmRestarts(0.1, 5, 2, cycle_decay=0.5), None),
    "restarts that begin at 0": (lambda: lrax.minimum(lrax.CosineAnnealingWarmRestarts(0.1, 5, 1, 0.05, warmup_steps=2), 0.04), None),
    "a root after a rise": (lambda: lrax.maximum(lrax.InverseSqrtLR(1.0, 4, timescale=1.0, warmup_start_lr=0.1), 0.5), 7),
    "for ever": (E, None),
    "for ever, and halved": (lambda: 1e-300 * E(), None),
    "for ever, and next to nothing": (lambda: E() + 0.1, None),
    "for ever, and squared": (lambda: GROWS() * GROWS(), None),
    "0 times what goes on": (lambda: 0 * E(), 0),
    "at most 0": (lambda: lrax.minimum(E(), 0), 0),
    "in a sum": (lambda: lrax.maximum(E(), 0.1) + lrax.LinearLR(0.1, total_iters=9), 9),
    "in a sum with what goes on": (lambda: lrax.maximum(E(), 0.1) + lrax.StepLR(0.1), None),
    "in a product": (lambda: lrax.maximum(E(), 0.1) * lrax.minimum(GROWS(), 0.1), 10),
    "in a chain": (lambda: lrax.ChainedScheduler([lrax.maximum(E(), 0.1), lrax.LinearLR(0.5, total_iters=3)]), 4),
    "at last": (lambda: lrax.SequentialLR([lrax.StepLR(0.1), lrax.maximum(E(), 0.1)], [7]), 11),
    "at first": (lambda: lrax.SequentialLR([lrax.maximum(E(), 0.1), E()], [7]), None),
    "delayed, stretched, warmed up": (lambda: lrax.maximum(E(), 0.1).delay(3).stretch(2.5).with_warmup(5), 21),
    "that late": (lambda: lrax.maximum(lrax.ExponentialLR(1.0, 1 - 1e-9), 0.5).delay(10**9), None),
    "members with other ends": (lambda: lrax.maximum(E(), lrax.LinearLR(0.2, 1.0, 0.5, 20), lrax.StepLR(0.3, 40, 0.3)), 40),
    "a bound on a bound": (lambda: lrax.minimum(lrax.maximum(E(), 0.1), 0.05), 0),
    "one that goes on in front": (lambda: lrax.maximum(E(), lrax.PolynomialLR(1.0, 5)), None),
    "a plateau": (lambda: lrax.maximum(lrax.ReduceLROnPlateau(0.1), 0.2), None),
    "a plateau that comes to an end": (lambda: lrax.ReduceLROnPlateau(0.1).with_cooldown(9, 3, eta_min=0.1), 12),
    "a plateau again and again": (lambda: lrax.maximum(lrax.ReduceLROnPlateau(0.1).repeat(5, limit=3), E()), None),
    "a user's function": (lambda: lrax.maximum(lrax.LambdaLR(0.1, lambda t: 1.0), 0.2), None),
    "every cycle": (lambda: lrax.maximum(lrax.LinearLR(0.1, 1.0, 0.5, 5).repeat(6, 0.5), 0.02), 14),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_ends(name):
    make, end = KNOWN[name]
    if name == "that late":  # ln 2 / 1e-9 epochs after it begins
        assert make().total_steps == pytest.approx(10**9 + np.log(2) * 1e9, abs=100)
        return
    scheduler = make()
    assert scheduler.total_steps == end
    if end is not None:
        assert scheduler.phase_at(end) == "end"
        assert lrax.maximum(scheduler.delay(7), 0.0).total_steps == (end and end + 7)


def test_ends_of_groups():
    groups = lrax.maximum(lrax.ExponentialLR([1.0, 0.5], 0.5), 0.1)
    assert groups.total_steps == 4
    groups = lrax.MinimumLR([lrax.ExponentialLR([1.0, 0.0], 0.5), 0.5])
    assert (
        groups.total_steps,
        lrax.MinimumLR([lrax.ExponentialLR([0.0, 0.0]), 0.5]).total_steps,
    ) == (None, 0)


def test_a_group_with_less_goes_on_for_ever_as_well():
    member, _ = E().delay(3).pieces()[0]
    groups = [lrax.LRScheduler(base, formula=member) for base in (0.1, 0.0)]
    assert [group.total_steps for group in groups] == [None, 0]


def hump(p):
    return 1 - p + 4 * p * (1 - p)


HUMPS = {
    "a decay": lambda: lrax.WSDSchedule(1.0, 5, 30, 20, decay=hump),
    "a warmup": lambda: lrax.WSDSchedule(1.0, 15, 30, warmup=hump),
    "points": lambda: lrax.PiecewiseSchedule(1.0, [3, 20], [1.0, 0.1], hump),
    "with_warmup": lambda: lrax.ConstantLR(1.0, 1.0, 0).with_warmup(20, hump),
    "with_warmup, running": lambda: lrax.ConstantLR(1.0, 1.0, 0).with_warmup(20, hump, running=True),
    "with_warmup that falls, running": lambda: E().with_warmup(20, start_lr=1e5, running=True),
    "with_cooldown": lambda: lrax.ConstantLR(1.0, 1.0, 0).with_cooldown(5, 20, hump),
}  # fmt: skip


@pytest.mark.parametrize("name", HUMPS)
def test_what_leaves_the_way_between_its_ends_is_not_thought_to_stay_there(name):
    scheduler = lrax.maximum(HUMPS[name](), 1.2)
    assert scheduler.total_steps == walked(scheduler) > 5


# --- Long ones --------------------------------------------------------------------------------

FLAT = lrax.ConstantLR(1.0, 1.0, 0)
BIG = 10**9

LONG = {
    "nothing happens": (lambda: lrax.ConstantLR(1.0, 1.0, 2**30), 0),
    "a decay to where it was": (lambda: lrax.WSDSchedule(1.0, 10, BIG, BIG // 10, eta_min=1.0).delay(0), 10),
    "the same of a user's shape": (lambda: lrax.WSDSchedule(1.0, 10, BIG, BIG // 10, lambda p: 1 - p, eta_min=1.0).delay(0), 10),
    "two that cancel": (lambda: lrax.LinearLR(1.0, 0.25, 0.75, BIG) + lrax.LinearLR(1.0, 0.75, 0.25, BIG), 0),
    "two that cancel, and one epoch": (lambda: lrax.LinearLR(1.0, 0.25, 0.75, BIG) + lrax.LinearLR(1.0, 0.75, 0.25, BIG) + lrax.PiecewiseConstantSchedule(boundaries=[BIG // 3, BIG // 3 + 1], values=[1.0, 2.0, 1.0]), BIG // 3 + 1),
    "a bump that is over": (lambda: lrax.PiecewiseSchedule(1.0, [0, 700, 900, BIG], [1.0, 1.0, 2.0, 2.0]), 900),
    "a long way that is over": (lambda: (lrax.LinearLR(1.0, 0.0, 1.0, BIG) + lrax.LinearLR(1.0, 1.0, 0.0, BIG)) * lrax.LinearLR(1.0, 0.0, 1.0, 10**8), 10**8),
    "two that cancel, and a jump": (lambda: lrax.LinearLR(1.0, 0.25, 0.75, BIG) + lrax.LinearLR(1.0, 0.75, 0.25, BIG) + lrax.ConstantLR(1.0, 0.5, 123_456_789), 123_456_789),
    "what falls quickly again and again": (lambda: lrax.StepLR(0.1, 5, 0.5).repeat(10**8, limit=10), 9 * 10**8 + 615),
    "a user's way in front of it": (lambda: FLAT.with_warmup(1000, lambda p: 1 - p).with_cooldown(2**30, 2**20, lambda p: 1 - p, 1.0), 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_an_end_is_found_however_long_ago_it_was(name):
    make, end = LONG[name]
    scheduler = make()
    found = scheduler.total_steps
    last = scheduler(2**31 - 1)
    assert abs(found - end) <= 100 * (end == 10**8)  # the last of it is less than half a float32
    assert scheduler(found) == last
    assert found == 0 or scheduler(found - 1) != last


# --- Jumps ------------------------------------------------------------------------------------

RISES = {
    "a warmup": lambda: lrax.WSDSchedule(0.5, 6, 40, 10, "constant", "constant"),
    "a warmup of one epoch": lambda: lrax.WSDSchedule(0.5, 1, 40, 10, "constant", "constant"),
    "no warmup": lambda: lrax.WSDSchedule(0.5, 0, 40, 0, warmup="constant", decay="constant"),
    "a decay that rises": lambda: lrax.WSDSchedule(0.5, 6, 40, 10, "constant", "constant", eta_min=0.8),
    "a decay that falls": lambda: lrax.WSDSchedule(0.5, 6, 40, 10, "constant", "constant", 0.7),
    "nothing to rise": lambda: lrax.WSDSchedule(0.5, 6, 40, 10, "constant", "constant", 0.5, 0.5),
    "with_warmup": lambda: FLAT.with_warmup(9, "constant"),
    "with_warmup that falls": lambda: FLAT.with_warmup(9, "constant", 2.0),
    "with_warmup, running": lambda: lrax.MultiStepLR(1.0, [3, 5, 20], 0.5).with_warmup(9, "constant", running=True),
    "with_warmup of one epoch": lambda: FLAT.with_warmup(1, "constant"),
    "with_cooldown upwards": lambda: lrax.MultiStepLR(0.1, [4, 30], 0.5).with_cooldown(20, 5, "constant", 0.3),
    "with_cooldown downwards": lambda: lrax.MultiStepLR(0.1, [4, 30], 0.5).with_cooldown(20, 5, "constant", 0.01),
    "with_cooldown in no time": lambda: FLAT.with_cooldown(20, 0, "constant", 3.0),
    "points": lambda: lrax.PiecewiseSchedule(1.0, [2, 6, 7, 11, 15, 16], [0.1, 0.5, 0.7, 0.2, 0.2, 0.9], "constant"),
    "points from the beginning": lambda: lrax.PiecewiseSchedule(1.0, [0, 6], [0.1, 0.5], "constant"),
}  # fmt: skip

PLACES = {
    "alone": lambda a: a,
    "stretched": lambda a: a.stretch(7),
    "stretched a bit": lambda a: a.stretch(1.3),
    "made shorter": lambda a: a.stretch(0.7),
    "delayed, late": lambda a: a.delay(10**6),
    "stretched, and delayed": lambda a: a.stretch(3).delay(10**6),
    "repeated": lambda a: a.repeat(23, limit=3),
    "second": lambda a: lrax.SequentialLR([lrax.StepLR(1.0, 5, 0.9), a], [7]),
    "in a sum, stretched": lambda a: (a + lrax.MultiStepLR(0.1, [5, 8], 0.5)).stretch(10),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", RISES)
def test_every_jump_is_at_a_boundary(name, place):
    """All of them hold their learning rate between jumps."""
    scheduler = PLACES[place](RISES[name]().delay(0))  # a WSDSchedule keeps its own total_steps
    start = 10**6 if "late" in place or place.endswith("delayed") else 0
    rates = scheduler(start + np.arange(500))
    jumps = start + np.flatnonzero(np.diff(rates)) + 1
    boundaries = scheduler.boundaries
    assert list(boundaries) == sorted(set(boundaries))
    assert set(jumps.tolist()) <= set(boundaries)
    assert scheduler.total_steps == (jumps[-1] if jumps.size else 0)


def test_the_boundaries_of_rises_are_these():
    assert RISES["a warmup"]().boundaries == (1, 6, 30, 40)
    assert RISES["a warmup of one epoch"]().boundaries == (1, 30, 40)
    assert RISES["a decay that falls"]().boundaries == (6, 30, 40)
    assert RISES["a decay that rises"]().boundaries == (1, 6, 30, 31)
    assert RISES["with_warmup"]().boundaries == (1,)
    assert RISES["with_cooldown upwards"]().boundaries == (4, 20, 21)
    assert RISES["with_cooldown in no time"]().boundaries == (20,)
    assert RISES["points"]().boundaries == (2, 3, 6, 7, 11, 15, 16)
    assert FLAT.with_warmup(10, "constant").stretch(10).boundaries == (1,)


def test_a_quotient_that_comes_late_is_late_however_long_it_is_delayed():
    assert 33 / 1.1 < 30
    drop = lrax.MultiStepLR(1.0, [30], 0.5).stretch(1.1).delay(10**6)
    assert (drop.boundaries, drop.total_steps) == ((10**6, 10**6 + 34), 10**6 + 34)
