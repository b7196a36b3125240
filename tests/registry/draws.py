"""What arguments may be: strategies for the random schedulers of the tests."""

from hypothesis import strategies as st

from exact import LAST_EPOCH

near_powers = st.builds(
    lambda k, d: min(max(2**k + d, 1), LAST_EPOCH), st.integers(0, 31), st.integers(-1, 1)
)
sizes = st.one_of(
    st.integers(1, 50), st.integers(1, 10**5), near_powers, st.integers(1, LAST_EPOCH)
)
lengths = st.one_of(st.just(0), sizes)
starts = st.lists(lengths, max_size=6).map(sorted)
rates = st.one_of(st.sampled_from([0.1, 1e-3, 3e-4, 1.0]), st.floats(1e-12, 1e3))
factors = st.one_of(st.sampled_from([0.0, 1 / 3, 0.1, 1.0]), st.floats(1e-9, 2.0))
shrinking = st.one_of(
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.floats(0.001, 1.0),
    st.integers(1, 15).map(lambda k: 1 - 10.0**-k),
)
powers = st.one_of(st.sampled_from([0.5, 0.9, 1.0, 2.0]), st.floats(0.01, 20.0))
floors = st.one_of(st.just(0.0), st.floats(1e-12, 1e3))
shapes = st.sampled_from(
    [
        *("linear", "cosine", "1-sqrt", "square", "exponential", "power", "log", "rex", "tanh"),
        *("harmonic", "constant", ("power", 0.5), ("exponential", 0.01), ("tanh", 8.0)),
    ]
)
