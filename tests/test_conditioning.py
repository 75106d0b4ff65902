"""Conditioning on linear measurements, against brute force in double precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import (
    AncestralSampling,
    ClassicalHopfield,
    Dense,
    GaussianMemory,
    InputError,
    LearnedMemory,
    Mixture,
    Observation,
    PatternMemory,
    Scanned,
    Sharded,
    Smoothed,
    condition,
    estimate_sigma,
    recall,
    recall_many,
)
from dispersed.datasets import load_digits
from dispersed.storage import Float16, InMemory

ENGINES = [Dense(), Scanned(), Sharded()]
SAMPLES = 4000


@pytest.fixture(scope="module")
def digits():
    return np.asarray(load_digits()[0], np.float32)


def box_blur():
    """The means of the four quarters, 4 × 4 pixels each, of an image of 8 × 8."""
    quarters = [np.kron(np.eye(2)[[i]].T @ np.eye(2)[[j]], np.ones((4, 4))) for i in range(2) for j in range(2)]
    return (np.array(quarters).reshape(4, 64) / 16).astype(np.float32)


def operators():
    rng = np.random.default_rng(7)
    known = np.zeros(64, bool)
    known[rng.choice(64, 8, replace=False)] = True
    return {
        "8 of 64 pixels": (np.eye(64, dtype=np.float32)[known], known),
        "box blur": (box_blur(), None),
        "random": (rng.standard_normal((10, 64)).astype(np.float32), None),
    }


def measurement(name, truth, sigma, seed=0):
    """An observation of one digit, its operator and what was measured, in double precision."""
    matrix, known = operators()[name]
    noise = np.random.default_rng(seed).standard_normal(len(matrix))
    value = (matrix @ truth + sigma * noise).astype(np.float32)
    if known is None:
        return Observation(value, operator=matrix, sigma=sigma), matrix.astype(float), value.astype(float)
    whole = np.full(64, np.nan, np.float32)
    whole[known] = value
    return Observation(whole, mask=known, sigma=sigma), matrix.astype(float), value.astype(float)


def brute(y, matrix, value, sigma, log_w=None):
    """p(j | v) and log p(v), by differences."""
    y, sigma = np.asarray(y, float), np.broadcast_to(np.float64(np.float32(sigma)), value.shape)
    logits = (np.full(len(y), -np.log(len(y))) if log_w is None else log_w) - np.sum(
        ((value - y @ matrix.T) / sigma) ** 2, axis=1
    ) / 2
    top = logits.max()
    total = top + np.log(np.sum(np.exp(logits - top)))
    return np.exp(logits - total), total - np.sum(np.log(sigma * np.sqrt(2 * np.pi)))


@pytest.mark.parametrize("engine", ENGINES, ids=str)
@pytest.mark.parametrize("name", operators())
def test_digits_are_conditioned_as_by_brute_force(digits, name, engine):
    memory = PatternMemory(digits, engine=engine)
    for sigma in (0.5, 0.1, 0.02):
        observation, matrix, value = measurement(name, digits[17], sigma)
        exact, evidence = brute(digits, matrix, value, sigma)
        seen = condition(memory, observation)
        np.testing.assert_allclose(seen.weights, exact, atol=1e-5)
        np.testing.assert_allclose(seen.log_evidence, evidence, rtol=1e-5, atol=1e-4)
        mapped = mapped_weights(memory, np.stack([observation.value] * 2), observation)
        np.testing.assert_allclose(np.asarray(mapped)[1], exact, atol=1e-5)


@eqx.filter_jit
def mapped_weights(memory, values, like):
    """p(j | v) of several values that were measured alike, in one program."""

    def weights(value):
        return condition(memory, Observation(value, like.mask, like.operator, sigma=like.sigma)).weights

    return jax.vmap(weights)(values)


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_what_was_conditioned_is_a_memory_like_any_other(digits, engine):
    """Every method of it is that of patterns with the weights p(j | v)."""
    observation, matrix, value = measurement("box blur", digits[17], 0.5)
    seen = condition(PatternMemory(digits, engine=engine), observation)
    same = PatternMemory(digits, brute(digits, matrix, value, 0.5)[0], engine=engine)
    x = digits[[17, 40]] + 0.3 * np.random.default_rng(1).standard_normal((2, 64)).astype(np.float32)
    for sigma in (0.3, 2.0):
        np.testing.assert_allclose(seen.denoise(x, sigma), same.denoise(x, sigma), atol=1e-4)
        np.testing.assert_allclose(seen.log_density(x, sigma), same.log_density(x, sigma), rtol=1e-5)
        np.testing.assert_array_equal(seen.nearest(x, sigma)[0], same.nearest(x, sigma)[0])
        posterior, expected = seen.posterior(x, sigma), same.posterior(x, sigma)
        np.testing.assert_allclose(posterior.mean, expected.mean, atol=1e-4)
        np.testing.assert_allclose(posterior.responsibilities, expected.responsibilities, atol=1e-4)
    for found, expected in zip(seen.prior_start(), same.prior_start(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["8 of 64 pixels", "random"])
def test_sampling_is_at_the_floor(digits, name):
    """Draws, and recalls by the reverse SDE from the prior, have the total variation that independent draws have."""
    few = digits[:60]
    observation, matrix, value = measurement(name, few[17], 0.6 if name != "random" else 3.0)
    exact = brute(few, matrix, value, observation.sigma)[0]
    seen = condition(PatternMemory(few), observation)
    draws = np.asarray(seen.sample(jax.random.key(0), SAMPLES))
    index = np.argmin(((draws[:, None] - few) ** 2).sum(-1), axis=1)
    frequencies = np.bincount(index, minlength=60) / SAMPLES
    start, level = seen.prior_start()
    many = recall_many(seen, start, AncestralSampling(60), sigma=level, samples=SAMPLES, key=jax.random.key(1))
    floor = float(many.expected_total_variation)
    assert 0.5 * np.abs(frequencies - exact).sum() < 1.3 * floor
    assert 0.5 * np.abs(np.asarray(many.frequencies) - exact).sum() < 1.3 * floor


def test_patterns_that_agree_on_the_unknown_entries_are_decided_by_the_evidence():
    memory = PatternMemory([[-1.0, -1, 1], [1.0, 1, 1]])
    arguments = {"sigma": 0.3, "known": [True, True, False], "key": jax.random.key(0)}
    found = recall(memory, [1.0, 1, 0], AncestralSampling(), **arguments)
    assert int(found.index) == 1
    many = recall_many(memory, [1.0, 1, 0], samples=1000, **arguments)
    np.testing.assert_array_equal(many.counts, [0, 1000])


def test_unequal_priors_levels_and_offsets(rng):
    """Weights over many orders of magnitude, a noise of each entry, patterns far from the origin and in tiny units."""
    y, log_w = rng.standard_normal((30, 5)), rng.uniform(-400, 0, 30)
    log_w -= np.log(np.exp(log_w).sum())
    matrix, levels = rng.standard_normal((3, 5)), np.array([0.1, 1.0, 3.0])
    for offset, unit in ((0.0, 1.0), (1e3, 1.0), (0.0, 1e-15), (0.0, 1e15)):
        with jax.enable_x64(True):
            patterns = (y + offset) * unit
            value = matrix @ patterns[3] + unit * levels
            memory = PatternMemory(patterns, log_weights=log_w)
            seen = condition(memory, Observation(value, operator=matrix, sigma=unit * levels))
            logits = log_w - np.sum(((value - patterns @ matrix.T) / levels / unit) ** 2, axis=1) / 2
            exact = np.exp(logits - logits.max())
            np.testing.assert_allclose(seen.weights, exact / exact.sum(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("engine", [Dense(), Scanned()], ids=str)
def test_evidence_decides_at_the_round_off_of_the_patterns(engine):
    """Two patterns that differ by a unit in the last place of one entry, measured with less noise than that."""
    y = np.full((3, 64), 0.7, np.float32)
    y[1, 5] = np.nextafter(np.float32(0.7), np.float32(1))
    y[2] = -0.7
    mask = np.arange(64) < 32
    memory = PatternMemory(y, engine=engine)
    sigma = 2e-8
    for j in range(2):
        observation = Observation(y[j], mask=mask, sigma=sigma)
        exact, _ = brute(y, np.eye(64)[mask], y[j, mask].astype(float), sigma)
        np.testing.assert_allclose(condition(memory, observation).weights, exact, atol=1e-5)
        mapped = np.asarray(mapped_weights(memory, y[[j, j, 2]], observation))
        np.testing.assert_allclose(mapped[0], exact, atol=1e-5)


def test_a_gaussian_is_conditioned_as_by_its_joint_density(x64, rng):
    """(v, y) are jointly Gaussian: the conditional by the precision of all units together, not by the gain."""
    factor, mean, matrix = rng.standard_normal((6, 6)), rng.standard_normal(6), rng.standard_normal((3, 6))
    covariance, value, sigma = factor @ factor.T, rng.standard_normal(3), 0.4
    seen = condition(GaussianMemory.from_covariance(mean, covariance), Observation(value, operator=matrix, sigma=sigma))
    precision = np.linalg.inv(covariance) + matrix.T @ matrix / sigma**2
    expected = np.linalg.solve(precision, np.linalg.solve(covariance, mean) + matrix.T @ value / sigma**2)
    np.testing.assert_allclose(seen.mean, expected, rtol=1e-9)
    np.testing.assert_allclose(seen.factor @ seen.factor.T, np.linalg.inv(precision), rtol=1e-8, atol=1e-10)
    of_value = matrix @ covariance @ matrix.T + sigma**2 * np.eye(3)
    off = value - matrix @ mean
    evidence = -off @ np.linalg.solve(of_value, off) / 2 - np.linalg.slogdet(2 * np.pi * of_value)[1] / 2
    np.testing.assert_allclose(seen.log_evidence, evidence, rtol=1e-9)


MEMORIES = {
    "patterns": lambda y: PatternMemory(y),
    "scanned": lambda y: PatternMemory(y, engine=Scanned()),
    "sharded": lambda y: PatternMemory(y, engine=Sharded()),
    "streamed": lambda y: PatternMemory(InMemory(y, Float16())),
    "gaussian": lambda y: GaussianMemory(y[0], y[:3].T),
    "mixture": lambda y: Mixture([GaussianMemory(one, np.diag(np.arange(1.0, 5))) for one in y[:3]]),
    "smoothed": lambda y: Smoothed(PatternMemory(y), 0.5),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_measurement_is_differentiated(x64, rng, name):
    """In its value everywhere; in its operator and its noise where patterns are in memory."""
    y = np.round(rng.standard_normal((8, 4)) * 8) / 8
    memory = MEMORIES[name](y)
    matrix, value, x = (
        jnp.asarray(part) for part in (rng.standard_normal((2, 4)), [0.3, -0.2], rng.standard_normal(4))
    )

    def result(value, matrix, sigma):
        seen = condition(memory, Observation(value, operator=matrix, sigma=sigma))
        return seen.log_density(x, 0.8) + jnp.sum(seen.denoise(x, 0.8) ** 2) + seen.log_evidence

    every = name in ("patterns", "smoothed", "gaussian", "mixture", "scanned")
    arguments = (value, matrix, jnp.asarray(0.6))
    both = jax.jit(jax.value_and_grad(result, tuple(range(3 if every else 1))))
    slopes = map(np.asarray, both(*arguments)[1])

    def outside(*arguments):
        # Those that are scanned are conditioned in another way outside of programs, which must agree.
        return float(result(*arguments) if name in ("scanned", "streamed") else both(*arguments)[0])

    for number, slope in enumerate(slopes):
        single = name in ("sharded", "streamed", "scanned")
        step = 1e-2 if single else 1e-5
        for i in np.ndindex(slope.shape):
            moved = [list(arguments), list(arguments)]
            for side, sign in zip(moved, (1, -1), strict=True):
                side[number] = np.array(side[number])
                side[number][i] += sign * step
            difference = (outside(*moved[0]) - outside(*moved[1])) / 2 / step
            np.testing.assert_allclose(
                slope[i], difference, rtol=2e-3 if single else 1e-6, atol=2e-3 if single else 1e-7
            )


def test_a_batch_of_masks_needs_no_array_of_cues_times_patterns_times_units(rng):
    cues, n, d = 1000, 10_000, 64
    memory = PatternMemory(np.asarray(rng.standard_normal((n, d)), np.float32))._prepared()

    def completed(memory, v, mask):
        seen = condition(memory, Observation(v, mask=mask, sigma=0.5))
        return seen.denoise(v, 0.5), jax.grad(
            lambda v: condition(memory, Observation(v, mask=mask, sigma=0.5)).log_evidence
        )(v)

    program = jax.jit(jax.vmap(completed, (None, 0, 0)))
    shapes = jax.ShapeDtypeStruct((cues, d), jnp.float32), jax.ShapeDtypeStruct((cues, d), bool)
    needed = program.lower(memory, *shapes).compile().memory_analysis().temp_size_in_bytes
    assert needed < 4 * cues * n * d / 4


def test_a_thousand_masks_at_once_are_as_one(rng):
    y = np.asarray(rng.standard_normal((3000, 16)), np.float32)
    memory = PatternMemory(y)
    masks = rng.random((50, 16)) < 0.5
    x = y[:50] + 0.3 * np.asarray(rng.standard_normal((50, 16)), np.float32)

    def seen(v, mask):
        after = condition(memory, Observation(v, mask=mask, sigma=0.3))
        return after.weights, after.denoise(v, 0.4), after.nearest(v, 0.4)[0]

    weights, mean, index = map(np.asarray, jax.jit(jax.vmap(seen))(x, masks))
    for i in range(0, 50, 7):
        exact, _ = brute(y, np.eye(16)[masks[i]], x[i, masks[i]].astype(float), 0.3)
        np.testing.assert_allclose(weights[i], exact, atol=1e-5)
        logits = np.log(np.maximum(exact, 1e-300)) - np.sum((x[i].astype(float) - y) ** 2, axis=1) / 2 / 0.16
        p = np.exp(logits - logits.max())
        np.testing.assert_allclose(mean[i], p @ y.astype(float) / p.sum(), atol=1e-4)
        assert index[i] == logits.argmax()


def test_scanned_patterns_are_conditioned_over_the_same_storage(rng):
    y = np.asarray(rng.standard_normal((5000, 8)), np.float32)
    memory = PatternMemory(y, engine=Scanned())
    observation = Observation(y[7], mask=np.arange(8) < 3, sigma=0.2)
    seen = condition(memory, observation)
    assert seen.held.placed.storage is memory.held.placed.storage
    assert isinstance(seen.engine, Scanned)
    cues = y[:20] + 0.3 * np.asarray(rng.standard_normal((20, 8)), np.float32)
    found = recall(seen, cues, sigma=0.3)
    assert (np.asarray(found.certificate.bound) <= 1e-4).all()
    p = brute(y, np.eye(8)[:3], y[7, :3].astype(float), 0.2)[0]
    logits = np.log(np.maximum(p, 1e-300)) - ((cues[:, None].astype(float) - y) ** 2).sum(-1) / 2 / 0.09
    posterior = seen.posterior(cues, 0.3, leading=1, tol=1e-5)
    assert (np.asarray(posterior.bound) <= 1e-5).all()
    np.testing.assert_array_equal(posterior.index[:, 0], logits.argmax(axis=1))


@pytest.mark.parametrize("memory", [lambda y: PatternMemory(InMemory(y, Float16())), lambda y: PatternMemory(y)])
def test_streamed_patterns_sample_from_their_conditional(rng, memory):
    """Masks of patterns that are not in memory as numbers: probabilities and random dynamics."""
    y = np.round(rng.standard_normal((12, 3)) * 8) / 8
    memory, known = memory(y.astype(np.float32)), np.array([True, False, False])
    cue = np.array([y[0, 0], np.nan, np.nan], np.float32)
    exact = brute(y, np.eye(3)[known], cue[known].astype(float), 0.5)[0]
    cues = np.broadcast_to(cue, (3000, 3))
    found = recall(memory, cues, AncestralSampling(), sigma=0.5, known=known, key=jax.random.key(0))
    frequencies = np.bincount(found.index, minlength=12) / 3000
    assert np.abs(frequencies - exact).sum() / 2 < 0.04


def test_streamed_patterns_tell_the_noise_of_known_entries(x64, rng):
    """The slope of the evidence in the noise comes from a scan too."""
    y = np.round(rng.standard_normal((8, 4)) * 8) / 8
    known, cues = np.array([True, True, False, True]), y[:3] + 0.3 * rng.standard_normal((3, 4))
    streamed, resident = PatternMemory(InMemory(y, Float16())), PatternMemory(y)
    found, expected = (estimate_sigma(memory, cues, known).sigma for memory in (streamed, resident))
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    def evidence(memory, sigma):
        return condition(memory, Observation(cues[0], mask=known, sigma=sigma)).log_evidence

    slope = eqx.filter_jit(jax.grad(evidence, 1))
    found, expected = (slope(memory, np.full(4, 0.4)) for memory in (streamed, resident))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_network_is_clamped():
    network = ClassicalHopfield([[1.0, 1, -1, 1], [-1, 1, 1, 1]])
    clamped = condition(network, Observation([1.0, 1, 0, 0], mask=[True, True, False, False], sigma=1.0))
    np.testing.assert_array_equal(clamped.update([-1.0, -1, 1, 1])[:2], [1, 1])
    with pytest.raises(InputError, match="a mask clamps its units"):
        condition(network, Observation([1.0], operator=[[1.0, 0, 0, 0]], sigma=1.0))


M3 = PatternMemory([[1.0, 1, 0], [0, 1, 1]])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Observation([1.0, 2], mask=[True, False], operator=[[1.0, 2]], sigma=1), "mask, operator: got both"),
        (lambda: Observation(1.0, sigma=1), "value: got shape ()"),
        (lambda: Observation([[1.0, 2]], sigma=1), "value: got shape (1, 2)"),
        (lambda: Observation([1.0, np.nan], sigma=1), "value: got 1 NaN"),
        (lambda: Observation([1.0, np.nan], mask=[True, True], sigma=1), "value: got 1 NaN"),
        (lambda: Observation([1.0, 2], mask=[1, 0], sigma=1), "mask: got dtype int64"),
        (lambda: Observation([1.0, 2], mask=[True] * 3, sigma=1), "mask: got shape (3,)"),
        (lambda: Observation([1.0, 2], sigma=0), "sigma: got 0"),
        (lambda: Observation([1.0, 2], sigma=[1.0, 2, 3]), "sigma: got shape (3,)"),
        (lambda: Observation([1.0, 2], sigma=np.nan), "sigma: got 1 NaN"),
        (lambda: Observation([1.0, 2], operator=[[1.0, 2]], sigma=1), "operator: got shape (1, 2)"),
        (lambda: Observation([1.0], operator=[[np.inf, 2]], sigma=1), "operator: got 1 NaN"),
        (lambda: condition(M3, Observation([1.0, 2], sigma=1)), "value: got 2 entries"),
        (lambda: condition(M3, Observation([1.0], operator=[[1.0, 2]], sigma=1)), "operator: got shape (1, 2)"),
        (lambda: condition(M3, Observation([1.0], operator=lambda y: y, sigma=1)), "operator: maps 3 units to (3,)"),
        (lambda: condition(M3, Observation([1.0], operator=lambda y: y[:1] + 1, sigma=1)), "operator: got a function"),
        (lambda: condition(M3, Observation([1.0], operator=lambda y: y @ y[:2], sigma=1)), "operator: cannot be eval"),
        (lambda: condition([1.0], Observation([1.0], sigma=1)), "memory: got list"),
        (lambda: condition(LearnedMemory(lambda x, s: x, 1), Observation([1.0], sigma=1)), "observation: got one of a"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, line):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_input_of_other_kinds():
    """Whole numbers, half precision, other byte orders, a linear function, and NaN where nothing was observed."""
    expected = condition(M3, Observation([1.0, 1, 0], mask=[True, True, False], sigma=0.5)).weights
    for value in (np.array([1, 1, 0]), np.array([1, 1, np.nan], np.float16), np.array([1, 1, np.nan], ">f8")):
        found = condition(M3, Observation(value, mask=np.array([True, True, False]), sigma=[0.5, 0.5, np.nan])).weights
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = condition(M3, Observation([1.0, 1], operator=lambda y: y[:2], sigma=np.float16(0.5))).weights
    np.testing.assert_allclose(found, expected, rtol=1e-6)
