import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed import (
    VP,
    ClassicalHopfield,
    DenseHopfield,
    InputError,
    Memory,
    ModernHopfield,
    PatternMemory,
    Recall,
    recall,
)
from dispersed.dynamics import (
    DDIM,
    AncestralSampling,
    Asynchronous,
    DPMSolver2M,
    DPMSolver3M,
    ExponentialIntegrator,
    Heun,
    Iteration,
    OneStep,
    ProbabilityFlow,
    Result,
    ReverseSDE,
    uniform_time,
)

ANNEALING = {
    "one step": OneStep(),
    "DDIM": DDIM(12),
    "2M": DPMSolver2M(12),
    "3M": DPMSolver3M(12),
    "second order": ExponentialIntegrator(12),
    "third order": ExponentialIntegrator(12, order=3),
    "Heun": Heun(),
    "Euler": ProbabilityFlow(steps=40),
    "diffrax Heun": ProbabilityFlow(dfx.Heun(), steps=20),
    "Tsit5": ProbabilityFlow(dfx.Tsit5(), tol=1e-4),
    "SDE": ReverseSDE(steps=40),
}


@pytest.fixture
def stored(rng):
    patterns = np.sign(rng.standard_normal((40, 32)))
    return PatternMemory(patterns), patterns


@pytest.mark.parametrize("name", [*ANNEALING, "iteration"])
def test_every_dynamics_finds_the_memory(stored, key, name):
    memory, patterns = stored
    dynamics = ANNEALING.get(name, Iteration())
    cues = VP().corrupt(patterns, alpha=0.8, key=key)
    result = recall(memory, cues, dynamics, alpha=0.8, key=key)
    np.testing.assert_array_equal(result.index, np.arange(40))
    np.testing.assert_allclose(np.sign(result.x), patterns)
    assert (result.responsibility > 0.99).all()
    if name != "one step":
        assert bool(result.converged.all())


@pytest.mark.parametrize("name", [*ANNEALING, "iteration"])
def test_a_cue_is_recalled_alike_alone_in_a_batch_and_with_its_path(stored, key, name):
    """The i-th result depends on the key and i, not on how many cues there are; its path runs from the cue to it."""
    memory, patterns = stored
    dynamics = ANNEALING.get(name, Iteration())
    cues = VP().corrupt(patterns, alpha=0.7, key=key)
    whole = recall(memory, cues, dynamics, alpha=0.7, key=key)
    shaped = recall(memory, cues.reshape(4, 10, 32), dynamics, alpha=0.7, key=key)
    np.testing.assert_allclose(np.reshape(shaped.x, (40, 32)), whole.x, atol=2e-4)
    assert shaped.index.shape == (4, 10)
    assert whole.trajectory is None
    few = recall(memory, cues[:3], dynamics, alpha=0.7, key=key, trajectory=name not in ("one step", "iteration"))
    np.testing.assert_allclose(few.x, np.asarray(whole.x)[:3], atol=1e-5)
    if few.trajectory is None:
        return
    path, sigmas = np.asarray(few.trajectory), np.asarray(few.sigmas)
    np.testing.assert_allclose(path[:, 0], cues[:3], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(path[:, -1], few.x)
    assert (np.diff(sigmas, axis=-1) < 0).all()
    np.testing.assert_allclose(sigmas[:, 0], dispersed.sigma_from_alpha(0.7), rtol=1e-5)
    assert (sigmas[:, -1] == 0).all()


def test_noise_does_not_depend_on_how_a_batch_rounds_its_times(stored, key):
    """The whole paths of random recalls, not only where they end, are those of the cue on its own."""
    memory, patterns = stored
    cues = VP().corrupt(patterns, alpha=0.5, key=key)
    whole = recall(memory, cues, ANNEALING["SDE"], alpha=0.5, key=key, trajectory=True)
    for count in (1, 3):
        few = recall(memory, cues[:count], ANNEALING["SDE"], alpha=0.5, key=key, trajectory=True)
        np.testing.assert_allclose(few.trajectory, np.asarray(whole.trajectory)[:count], atol=1e-3)


def test_every_cue_may_have_its_own_noise_level(stored, key):
    memory, patterns = stored
    alpha = np.linspace(0.6, 0.9, 40, dtype=np.float32)
    cues = VP().corrupt(patterns, alpha=alpha, key=key)
    for dynamics in (ANNEALING["2M"], ANNEALING["Euler"]):
        whole = recall(memory, cues, dynamics, alpha=alpha)
        alone = recall(memory, cues[7], dynamics, alpha=alpha[7])
        np.testing.assert_allclose(np.asarray(whole.x)[7], alone.x, atol=1e-4)


def test_evaluations_are_counted_as_they_happen():
    """Against a memory that counts its own evaluations at run time."""
    counted = []

    class Counting(Memory):
        log_concave = True

        @property
        def dimension(self):
            return 2

        def _log_density(self, x, sigma):
            return -x @ x / (2 * (1 + sigma**2))

        def _denoise(self, x, sigma):
            jax.debug.callback(lambda _: counted.append(1), x)
            return x / (1 + sigma**2)

    cases = {
        OneStep(): 2,
        DDIM(9): 10,
        DPMSolver2M(9): 10,
        DPMSolver3M(9): 10,
        Heun(9): 18,
        AncestralSampling(9): 18,
        ExponentialIntegrator(9, order=1): 10,
        ExponentialIntegrator(9): 10,
        ExponentialIntegrator(9, order=3): 12,
        ProbabilityFlow(steps=25): 26,
        ProbabilityFlow(dfx.Heun(), steps=11): None,
        ProbabilityFlow(dfx.Tsit5(), steps=11): None,
        ProbabilityFlow(dfx.Midpoint(), steps=11): None,
        ReverseSDE(steps=25): 26,
    }
    for dynamics, expected in cases.items():
        counted.clear()
        result = recall(Counting(), jnp.array([1.0, 2.0]), dynamics, sigma=1.0, key=jax.random.key(0))
        jax.effects_barrier()
        assert len(counted) == int(result.evaluations), dynamics
        assert expected is None or expected == int(result.evaluations)


def test_a_second_call_does_not_trace_again(rng):
    for dynamics in (ExponentialIntegrator(6), ProbabilityFlow(steps=6), Iteration(6), ReverseSDE(steps=6)):
        traces, counts = [], []

        class Traced(Memory):
            patterns: jax.Array
            dimension = 3

            def _log_density(self, x, sigma):
                traces.append(1)  # noqa: B023
                return jax.nn.logsumexp(-jnp.sum((x - self.patterns) ** 2, axis=1) / (2 * sigma**2))

        for seed in range(2):
            memory = Traced(jnp.asarray(rng.standard_normal((4, 3))))
            cue = rng.standard_normal((5, 3))
            recall(memory, cue, dynamics, alpha=0.5 + 0.1 * seed, process=VP(1.0 + seed), key=jax.random.key(seed))
            counts.append(len(traces))
        assert counts[0] > 0
        assert counts[1] == counts[0], dynamics


def test_the_papers_flow_is_on_its_grid(stored, key):
    """300 Euler steps of equal length in t from −(2/γ) ln α, written out by hand."""
    memory, patterns = stored
    process = VP(rate=0.8)
    cue = process.corrupt(patterns[0], alpha=0.68, key=key)
    papers = ProbabilityFlow(sigma_min=0.0, grid=uniform_time)
    result = recall(memory, cue, papers, alpha=0.68, process=process, trajectory=True)
    path, start = np.asarray(result.trajectory), -2 / 0.8 * np.log(0.68)
    x = np.asarray(cue, np.float64)
    for k in range(299):
        theta = np.exp(-0.4 * start * (1 - k / 300))
        logits = -((x - theta * patterns) ** 2).sum(1) / (2 * (1 - theta**2))
        h = np.exp(logits - logits.max())
        score = (theta * (h / h.sum()) @ patterns - x) / (1 - theta**2)
        x = x + start / 300 * 0.4 * (x + score)
        np.testing.assert_allclose(path[k + 1], x, atol=2e-4)
    assert int(result.evaluations) == 301  # with a trajectory all steps are taken


def test_known_entries_are_evidence_and_stay(rng, key):
    """Completion finds the pattern that agrees on the known entries, whatever the cue says elsewhere."""
    patterns = rng.standard_normal((50, 20)).astype(np.float32) * 3
    known = rng.random((50, 20)) < 0.4
    cues = np.where(known, patterns, 1e3)
    for dynamics in (
        OneStep(),
        ExponentialIntegrator(12),
        ProbabilityFlow(steps=40),
        ReverseSDE(steps=40),
        Iteration(),
    ):
        result = recall(PatternMemory(patterns), cues, dynamics, sigma=0.1, known=known, key=key)
        np.testing.assert_array_equal(np.asarray(result.x)[known], patterns[known])
        np.testing.assert_array_equal(result.index, np.arange(50))
        np.testing.assert_allclose(result.x, patterns, atol=1e-3)
        elsewhere = np.where(known, patterns, -7.0)
        again = recall(PatternMemory(patterns), elsewhere, dynamics, sigma=0.1, known=known, key=key)
        np.testing.assert_array_equal(again.x, result.x)


def test_one_step_completion_is_the_conditional_mean(rng, x64):
    patterns = rng.standard_normal((30, 6))
    known = np.array([True, True, False, False, False, True])
    cue, sigma = rng.standard_normal(6), 0.9
    result = recall(PatternMemory(patterns), cue, OneStep(), sigma=sigma, known=known)
    squared = ((cue - patterns)[:, known] ** 2).sum(1)
    r = np.exp(-squared / (2 * sigma**2))
    x = np.asarray(result.x)
    np.testing.assert_allclose(x[~known], (r / r.sum()) @ patterns[:, ~known], rtol=1e-10)
    np.testing.assert_array_equal(x[known], cue[known])


def test_random_completion_samples_the_posterior(rng, key):
    """Given one known entry of noise σ, SDE recall returns pattern j as often as Bayes' rule says."""
    patterns, known = rng.standard_normal((4, 3)), np.array([True, False, False])
    memory, cue, sigma, n = PatternMemory(patterns), np.array([0.3, 0.0, 0.0]), 0.8, 4000
    r = np.exp(-((cue[0] - patterns[:, 0]) ** 2) / (2 * sigma**2))
    cues = np.broadcast_to(cue, (n, 3))
    result = recall(memory, cues, ReverseSDE(steps=150), sigma=sigma, known=known, key=key)
    share = np.bincount(np.asarray(result.index), minlength=4) / n
    np.testing.assert_allclose(share, r / r.sum(), atol=4 * np.sqrt(0.25 / n) + 0.015)
    np.testing.assert_array_equal(np.asarray(result.x)[:, 0], cues[:, 0].astype(np.float32))


def test_deterministic_completion_fits_the_known_entries_best(rng):
    """Even where the evidence, at the noise stated, leaves several patterns possible."""
    patterns = np.sign(rng.standard_normal((50, 20)))
    known = np.arange(20) % 10 > 0
    assert len(np.unique(patterns[:, known], axis=0)) == 50
    for dynamics in (ExponentialIntegrator(12), ProbabilityFlow(steps=40)):
        result = recall(PatternMemory(patterns), patterns, dynamics, sigma=1.5, known=known)
        np.testing.assert_array_equal(result.index, np.arange(50))
        np.testing.assert_allclose(result.x, patterns, atol=1e-3)


def test_memories_that_fit_alike_are_returned_as_their_mean(x64):
    """And the probability says that it is not known which."""
    memory, known = PatternMemory([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]), np.array([True, False])
    result = recall(memory, [1.0, 9.0], sigma=0.5, known=known)
    np.testing.assert_allclose(result.x, [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(result.responsibility, 0.5)
    np.testing.assert_allclose(result.probability, 1 / (2 + np.exp(-8)), rtol=1e-6)


def test_known_units_of_a_network_are_clamped(rng):
    patterns = np.sign(rng.standard_normal((3, 40)))
    known = np.arange(40) < 25
    for network in (ClassicalHopfield(patterns), ModernHopfield(patterns, 2.0), DenseHopfield(patterns)):
        result = recall(network, np.where(known, patterns, 5.0), known=known)
        np.testing.assert_array_equal(np.asarray(result.x)[:, known], patterns[:, known])
        np.testing.assert_allclose(np.sign(result.x), patterns)


def test_a_clean_cue_needs_no_noise(stored):
    memory, patterns = stored
    for dynamics in [*ANNEALING.values(), Iteration()]:
        result = recall(memory, patterns, dynamics, alpha=1.0, key=jax.random.key(0))
        np.testing.assert_allclose(result.x, patterns, atol=1e-5)
        assert not np.isnan(result.responsibility).any()


def test_iteration_reports_convergence(rng):
    memory = PatternMemory(np.sign(rng.standard_normal((5, 16))))
    cue = rng.standard_normal((3, 16))
    few = recall(memory, cue, Iteration(1, tol=0.0), sigma=1.5)
    assert not bool(few.converged.any())
    many = recall(memory, cue, Iteration(500), sigma=1.5)
    assert bool(many.converged.all())
    np.testing.assert_array_equal(many.evaluations, many.steps)
    np.testing.assert_allclose(memory.denoise(many.x, 1.5), many.x, atol=1e-5)


def test_recall_works_inside_jit_and_vmap(rng):
    sets = rng.standard_normal((6, 5, 8))

    @jax.jit
    def recalled(patterns, cue):
        return recall(PatternMemory(patterns), cue, alpha=0.9).x

    whole = jax.vmap(recalled)(sets, sets[:, 0])
    np.testing.assert_allclose(np.asarray(whole)[3], recalled(sets[3], sets[3, 0]), atol=1e-5)


def test_patterns_known_outside_are_checked_inside_jit(rng):
    patterns = jnp.asarray(np.sign(rng.standard_normal((5, 8))))
    recalled = jax.jit(lambda cue: recall(PatternMemory(patterns, jnp.ones(5)), cue, alpha=0.7).x)
    np.testing.assert_allclose(recalled(patterns[0]), patterns[0], atol=1e-4)
    broken = patterns.at[0].set(jnp.nan)
    with pytest.raises(InputError, match="NaN"):
        jax.jit(lambda cue: PatternMemory(broken).denoise(cue, 0.5))(patterns[0])


def test_an_empty_batch_is_recalled(stored):
    memory, _ = stored
    result = recall(memory, np.zeros((0, 32)), alpha=0.5)
    assert result.x.shape == (0, 32)
    assert "0 states" in repr(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.5}, "alpha"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"sigma": 0.0}, "sigma"),
        ({"process": VP()}, "alpha, sigma"),
        ({"alpha": 0.5, "sigma": 1.0}, "alpha, sigma"),
        ({"alpha": np.ones(7)}, "one number"),
        ({"sigma": 1.0, "cue": np.zeros(5)}, "cue"),
        ({"sigma": 1.0, "cue": np.full(32, np.nan)}, "cue"),
        ({"sigma": 1.0, "cue": np.full(32, np.inf)}, "cue"),
        ({"sigma": 1.0, "dynamics": ReverseSDE()}, "key"),
        ({"sigma": 1.0, "dynamics": Asynchronous(), "key": jax.random.key(0)}, "dynamics"),
        ({"sigma": 1.0, "known": np.ones(32)}, "known"),
        ({"sigma": 1.0, "known": np.ones(5, bool)}, "known"),
    ],
)
def test_bad_input_gets_one_line(stored, arguments, message):
    memory, _ = stored
    arguments = {"cue": np.zeros((2, 32)), **arguments}
    with pytest.raises(InputError, match=message) as error:
        recall(memory, arguments.pop("cue"), **arguments)
    assert "\n" not in str(error.value)


def test_networks_have_no_noise_level(rng):
    network = ModernHopfield(rng.standard_normal((3, 4)), 1.0)
    with pytest.raises(InputError, match="own temperature"):
        recall(network, np.zeros(4), alpha=0.5)
    with pytest.raises(InputError, match="serves Denoiser"):
        recall(network, np.zeros(4), ProbabilityFlow())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Iteration(0),
        lambda: Iteration(5, tol=-1.0),
        lambda: Asynchronous(0),
        lambda: ExponentialIntegrator(1),
        lambda: ExponentialIntegrator(5, order=4),
        lambda: ExponentialIntegrator(5, sigma_min=-0.05),
        lambda: ProbabilityFlow(steps=1),
        lambda: ProbabilityFlow(tol=1e-3),
        lambda: ProbabilityFlow(dfx.Tsit5(), tol=0.0),
        lambda: ReverseSDE(sigma_min=-1.0),
    ],
)
def test_bad_dynamics_get_one_line(make):
    with pytest.raises(InputError) as error:
        make()
    assert "\n" not in str(error.value)


def test_repr_says_what_happened(stored):
    memory, patterns = stored
    assert repr(recall(memory, patterns, alpha=0.9)) == (
        "Recall(40 states of 32 units, 100.0% converged, 2 evaluations each, float32)"
    )


def test_rows_are_one_a_cue():
    counts = jnp.array([[1, 2], [3, 4]])
    endings = [[Result.converged, Result.saddle], [Result.certified, Result.cycle]]
    endings = jax.tree.map(lambda *parts: jnp.stack(parts).reshape(2, 2), *endings[0], *endings[1])
    found = Recall(jnp.zeros((2, 2, 3)), counts - 1, counts / 4, counts / 5, endings, counts, 10 * counts, None, None)
    rows = found.rows()
    row = {"cue": 2, "index": 2, "probability": 0.75, "converged": True, "result": "certified", "steps": 3}
    assert rows[2] == row | {"evaluations": 30}
    assert [row["result"] for row in rows] == ["converged", "saddle", "certified", "cycle"]
    assert [row["converged"] for row in rows] == [True, False, True, False]
    one = jax.tree.map(lambda part: part[None], Result.exhausted)
    nameless = Recall(jnp.zeros((1, 3)), None, None, None, one, *[jnp.ones(1, int)] * 2, None, None)
    assert nameless.rows()[0]["index"] is None


def test_ve_and_vp_are_one_process_in_other_coordinates(rng, stored, x64):
    """Exact time change: the flow in z does not know which process made the cue."""
    memory, patterns = PatternMemory(stored[1]), stored[1]
    z = patterns[:4] + 1.078 * rng.standard_normal((4, 32))
    alpha = dispersed.alpha_from_sigma(1.078)
    tight = ProbabilityFlow(dfx.Tsit5(), tol=1e-9, sigma_min=0.05)
    for dynamics, atol in ((tight, 1e-6), (ExponentialIntegrator(10), 1e-10)):
        exploding, preserving = (
            recall(memory, z, dynamics, sigma=1.078),
            recall(memory, alpha * z, dynamics, alpha=alpha),
        )
        np.testing.assert_allclose(exploding.x, preserving.x, atol=atol)


def test_clear_masks_need_few_evaluations(stored):
    """Evidence that leaves one pattern stops the recall; what is left of it is the same."""
    memory, patterns = stored
    known = np.arange(patterns.shape[1]) < 24
    found = recall(memory, np.where(known, patterns, 0.0), sigma=0.3, known=known)
    np.testing.assert_array_equal(found.index, np.arange(len(patterns)))
    np.testing.assert_allclose(found.x, patterns, atol=1e-5)
    assert int(found.evaluations.max()) <= 6
    every = recall(memory, np.where(known, patterns, 0.0), sigma=0.3, known=known, trajectory=True)
    np.testing.assert_allclose(found.x, every.x, atol=1e-5)
    np.testing.assert_array_equal(found.converged, every.converged)
