"""Samplers without fault pass; each fault that shipped somewhere is flagged."""

import importlib.util
import itertools
import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.samplers import k_diffusion_sampling

import dispersed
from dispersed import testbench
from dispersed.testbench import historic
from dispersed.testbench.fixture import assert_samples_exactly  # noqa: F401
from dispersed.testbench.page import save_page

KEY = jax.random.key(0)
PATTERNS = np.random.default_rng(5).standard_normal((8, 4)).astype("f4") + np.float32(0.7)
WEIGHTS = np.array([5, 4, 3, 3, 2, 2, 1, 1.0])
MEMORY = dispersed.PatternMemory(PATTERNS, WEIGHTS)
CUE = testbench.Problem(MEMORY, PATTERNS[:3].mean(axis=0), 2.0, name="from a cue")
LIKELY = testbench.Problem(MEMORY, 1.5 * PATTERNS[3], 2.0, name="from a likely cue")
NOISE = testbench.Problem(MEMORY, None, 20.0, name="from noise")
MASK = np.array([True, False, True, False])
MEASURED = testbench.Problem(
    MEMORY, None, 20.0, dispersed.Observation(PATTERNS[2] + 0.2, MASK, sigma=0.7), name="half observed"
)
OPERATOR = np.random.default_rng(6).standard_normal((2, 4))
PROJECTED = testbench.Problem(
    MEMORY, CUE.cue, 3.0, dispersed.Observation([0.1, 0.4], operator=OPERATOR, sigma=[0.5, 1.0]), name="projected"
)


def exact(problem):
    return lambda denoise, z, sigma, key: problem.posterior.sample(key, (len(z),))


def posterior(z, sigma, fit=0.0):
    logits = np.log(WEIGHTS) - (0 if z is None else ((np.asarray(z, float) - PATTERNS) ** 2).sum(1) / 2 / sigma**2)
    p = np.exp(logits + fit)
    return p / p.sum()


def in_order(problem, p):
    """Probabilities of `PATTERNS` in the order of the problem's distinct patterns."""
    distinct, _ = problem.probabilities()
    return p[[int(np.abs(PATTERNS - y).sum(1).argmin()) for y in distinct]]


def test_probabilities_are_the_exact_posterior():
    seen = -(((PATTERNS - PATTERNS[2] - 0.2) / 0.7) ** 2)[:, MASK].sum(1) / 2
    along = -(((np.array([0.1, 0.4]) - PATTERNS @ OPERATOR.T) / [0.5, 1.0]) ** 2).sum(1) / 2
    for problem, p in (
        (CUE, posterior(CUE.cue, 2.0)),
        (NOISE, posterior(None, 20.0)),
        (MEASURED, posterior(None, 20.0, seen)),
        (PROJECTED, posterior(CUE.cue, 3.0, along)),
    ):
        np.testing.assert_allclose(problem.probabilities()[1], in_order(problem, p), rtol=1e-5)


def test_duplicates_are_one_pattern():
    twice = testbench.Problem(dispersed.PatternMemory(np.concatenate([PATTERNS, PATTERNS[:2]])), CUE.cue, 2.0)
    assert len(twice.probabilities()[1]) == 8
    assert testbench.check(exact(twice), twice, key=KEY).passed


@pytest.mark.parametrize("problem", [CUE, NOISE, MEASURED, PROJECTED], ids=lambda p: p.name)
def test_exact_draws_pass_and_means_do_not(problem):
    found = testbench.check(exact(problem), problem)
    assert found.passed
    assert found.p_value > 1e-3
    assert found.total_variation < 2 * found.floor
    assert "passed" in str(found)
    mean = testbench.check(lambda denoise, z, sigma, key: denoise(z, sigma), problem, key=KEY)
    assert not mean.passed
    assert mean.stray > 0.9
    assert "no stored pattern" in str(mean)
    broken = testbench.check(lambda denoise, z, sigma, key: z * np.nan, problem, key=KEY)
    assert "100.0% of 4,000 samples are not finite" in str(broken)


def test_rare_patterns_that_are_never_drawn_are_missed():
    rare = testbench.Problem(dispersed.PatternMemory(PATTERNS, [0.99, *[0.01 / 7] * 7]), None, 20.0)
    without = dispersed.PatternMemory(PATTERNS.copy(), [0.99, *[0.01 / 6] * 6, 0])
    assert testbench.check(exact(rare), rare, samples=16_000, key=KEY).passed

    def sampler(denoise, z, sigma, key):
        return without.sample(key, (len(z),))

    assert not testbench.check(sampler, rare, samples=16_000, key=KEY).passed
    dropped = testbench.check(lambda d, z, s, key: jnp.tile(PATTERNS[0], (len(z), 1)), rare, key=KEY)
    assert not dropped.passed
    assert dropped.stray == 0


CORRECT = [historic.ancestral, historic.reverse_sde, historic.heun]


@pytest.mark.parametrize("algorithm", CORRECT, ids=lambda a: a.__name__)
def test_algorithms_without_fault_pass(algorithm):
    problems = [NOISE] if algorithm is historic.heun else [LIKELY, NOISE]
    verdict = testbench.judge(historic.made(algorithm), problems, key=KEY)
    assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", historic.FAULTS)
def test_every_historic_fault_is_flagged(name):
    algorithm, fault = historic.FAULTS[name]
    problem = MEASURED if algorithm is historic.solve else NOISE if algorithm is historic.heun else LIKELY
    assert not testbench.check(historic.made(algorithm, fault), problem, key=KEY).passed


def test_dynamics_of_the_library_are_judged_by_their_denoiser_alone():
    ours = testbench.dynamics_sampler(dispersed.AncestralSampling(60, sigma_min=0.02))
    assert testbench.judge(ours, [CUE, MEASURED], 3000, key=KEY).passed
    flow = testbench.dynamics_sampler(dispersed.DPMSolver2M(40, sigma_min=0.02))
    assert testbench.check(flow, NOISE, 3000, key=KEY).passed
    assert not testbench.check(flow, CUE, 3000, key=KEY).passed  # deterministic from one cue


def test_solvers_have_the_measurement_and_the_denoiser_without_it():
    asked = {}

    def solver(denoise, z, sigma, key, observation):
        asked["prior"] = denoise(z[:2], sigma)
        return exact(MEASURED)(denoise, z, sigma, key)

    def sampler(denoise, z, sigma, key):
        asked["posterior"] = denoise(z[:2], sigma)
        return exact(MEASURED)(denoise, z, sigma, key)

    assert testbench.check(solver, MEASURED, key=KEY).passed
    assert testbench.check(sampler, MEASURED, key=KEY).passed
    z = MEASURED.starts(jax.random.split(KEY)[0], 4000)[:2]
    np.testing.assert_allclose(asked["prior"], MEMORY.denoise(z, 20.0), atol=1e-5)
    np.testing.assert_allclose(asked["posterior"], MEASURED.source.denoise(z, 20.0), atol=1e-5)


def test_a_whole_number_calls_samplers_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'dispersed[torch]'")

    def euler_ancestral(denoise, z, sigma, seed):
        grid = torch.linspace(np.log(sigma), np.log(0.02), 80).exp()
        for level, following in itertools.pairwise(grid):
            r = (following / level) ** 2
            z = r * z + (1 - r) * denoise(z, level) + following * (1 - r).sqrt() * torch.randn_like(z)
        return denoise(z, grid[-1])

    before = torch.random.get_rng_state()
    found = testbench.check(euler_ancestral, CUE, 2000, key=7)
    assert found.passed, str(found)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert testbench.check(euler_ancestral, CUE, 2000, key=7).frequencies.tolist() == found.frequencies.tolist()


GAUSSIAN = dispersed.GaussianMemory(np.zeros(3), np.diag([1, 0.3, 0.05]))


@pytest.mark.parametrize(
    "problem",
    [
        testbench.Problem(GAUSSIAN, None, 10.0),
        testbench.Problem(GAUSSIAN, [0.5, 0.2, 0.1], 0.4),
    ],
    ids=["from noise", "from a cue"],
)
def test_distributions_are_judged_by_exact_draws(problem):
    def scaled(factor):
        centre = problem.posterior.sample(KEY, (4000,)).mean(axis=0)
        return lambda d, z, s, key: centre + factor * (problem.posterior.sample(key, (len(z),)) - centre)

    assert testbench.check(scaled(1.0), problem, key=KEY).passed
    narrow = testbench.check(scaled(0.85), problem, key=KEY)
    assert not narrow.passed
    assert "standard deviation" in str(narrow)


def test_calibration_over_many_problems():
    def draws(denoise, z, sigma, key, sharper=1.0):
        p = MEMORY.responsibilities(z, sigma) ** sharper
        return jnp.asarray(PATTERNS)[jax.random.categorical(key, jnp.log(p))]

    assert testbench.calibration(draws, MEMORY, 1.5, key=KEY).passed
    sure = testbench.calibration(lambda *a: draws(*a, sharper=2.0), MEMORY, 1.5, key=KEY)
    assert not sure.passed
    assert "FAILED" in str(sure)
    assert sure.counts.sum(axis=1).tolist() == [500] * 4


PAIR = testbench.Problem(dispersed.PatternMemory([[1.0], [-1.0]], [0.7, 0.3]), [0.5], 1.98)


def in_numpy(steps, fault=False):
    """Ancestral sampling of two patterns ±1, with their denoiser in closed form."""

    def sampler(denoise, z, sigma, key):
        rng, z = np.random.default_rng(3), np.asarray(z, float)
        grid = np.exp(np.linspace(np.log(sigma), np.log(0.25), steps + 1))
        for level, following in itertools.pairwise(grid):
            r = (following / level) ** 2
            mean = np.tanh(z / level**2 + np.log(7 / 3) / 2)
            spread = following * np.sqrt(1 - r) * (1.3 if fault else 1)
            z = r * z + (1 - r) * mean + spread * rng.standard_normal(z.shape)
        return np.where(rng.random(z.shape) < (1 + np.tanh(z / 0.25**2 + np.log(7 / 3) / 2)) / 2, 1.0, -1.0)

    return sampler


def test_the_order_of_convergence_tells_few_steps_from_a_fault():
    # By propagating expectations the biases are 7.1e-2, 3.7e-2, 1.9e-2 and 9.9e-3 (dispersed.dynamics.ancestral).
    found = testbench.convergence(in_numpy, PAIR, (3, 6, 12, 24), 100_000, key=KEY)
    np.testing.assert_allclose(found.bias, [7.1e-2, 3.7e-2, 1.9e-2, 9.9e-3], atol=5 * found.noise)
    assert abs(found.order - 1) < 5 * found.error + 0.1
    stays = testbench.convergence(lambda steps: in_numpy(steps, True), PAIR, (12, 24, 48), 100_000, key=KEY)
    assert stays.order < 0.3 or np.isnan(stays.order)
    assert stays.bias.min() > 5 * stays.noise


def test_what_is_not_finite_or_has_another_shape():
    def broken(denoise, z, sigma, key):
        return jnp.where(jnp.arange(len(z))[:, None] % 2, jnp.nan, denoise(z * jnp.nan, sigma))

    found = testbench.check(broken, CUE, 100, key=KEY)
    assert not found.passed
    assert found.stray == 1
    huge = testbench.check(lambda denoise, z, sigma, key: np.full(z.shape, 1e308), CUE, 100, key=KEY)
    assert huge.stray == 1


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        (lambda z: z[:3], "returned shape"),
        (lambda z: (z, {}), "returned a tuple of 2"),
        (lambda z: None, "returned shape"),
        (lambda z: np.full(z.shape, "a"), "returned dtype"),
        (lambda z: z + 1j, "returned dtype complex64"),
        (lambda z: [[1.0, 2.0], [3.0]], "rows of different lengths"),
    ],
)
def test_what_samplers_return_is_checked(returned, line):
    with pytest.raises(dispersed.InputError, match=f"^sampler: {line}"):
        testbench.check(lambda denoise, z, sigma, key: returned(z), CUE, 100, key=KEY)


def test_samplers_of_other_parameters_are_refused():
    with pytest.raises(dispersed.InputError, match=r"^sampler: got one of the parameters \(denoise, z\)"):
        testbench.check(lambda denoise, z: z, CUE, 100, key=KEY)


def test_few_samples_of_a_distribution_are_no_reason_to_fail():
    gaussian = testbench.Problem(dispersed.GaussianMemory(np.zeros(3), np.eye(3)), [0.5, 0.1, 0.0], 1.0)
    assert testbench.check(exact(gaussian), gaussian, 1, key=KEY).passed


def test_states_have_the_shape_of_the_problem():
    images = testbench.Problem(MEMORY, CUE.cue, 2.0, shape=(1, 2, 2))

    def sampler(denoise, z, sigma, key):
        assert denoise(z, sigma).shape == z.shape == (4000, 1, 2, 2)
        np.testing.assert_allclose(denoise(z[:1], jnp.full((1, 1, 1, 1), sigma)), denoise(z[:1], sigma))
        return exact(images)(denoise, z, sigma, key).reshape(z.shape)

    assert testbench.check(sampler, images, key=KEY).passed


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: testbench.Problem(MEMORY, np.zeros((2, 4)), 1.0), "cue"),
        (lambda: testbench.Problem(MEMORY, np.zeros(3), 1.0), "cue"),
        (lambda: testbench.Problem(MEMORY, None, -1.0), "sigma"),
        (lambda: testbench.Problem(dispersed.Sphere(np.zeros(2), 1.0), np.zeros(2), 1.0), "memory: got Sphere"),
        (lambda: testbench.Problem(MEMORY, None, 1.0, shape=(3, 3)), "shape"),
        (lambda: testbench.check(exact(CUE), CUE, 0, key=KEY), "samples"),
        (lambda: testbench.check(exact(CUE), CUE, key=2**40), "seed"),
        (lambda: testbench.check(exact(CUE), CUE, level=2.0), "level"),
        (lambda: testbench.Problem(MEMORY, None, 1.0, shape=(-2, -2)), "shape"),
        (lambda: testbench.judge(exact(CUE), []), "problems"),
        (lambda: testbench.k_diffusion_sampler(abs, sigma_min=-1.0), "sigma_min"),
        (lambda: testbench.convergence(in_numpy, PAIR, (8,)), "steps"),
    ],
)
def test_what_cannot_be_used_is_named(call, argument):
    with pytest.raises(dispersed.InputError, match=f"^{argument}"):
        call()


def test_standard_problems_are_ten_and_more_of_one_shape_each():
    problems = testbench.standard_problems()
    names = [problem.name for problem in problems]
    assert len(set(names)) == len(names) >= 12
    for problem in problems:
        _, p = problem.probabilities()
        assert p.sum() == pytest.approx(1)
    again = testbench.standard_problems()
    assert all(np.array_equal(a.probabilities()[1], b.probabilities()[1]) for a, b in zip(problems, again, strict=True))
    rare = dict(zip(names, problems, strict=True))["rare patterns"].probabilities()[1]
    assert ((rare > 0.005) & (rare < 0.02)).sum() >= 10


def test_faces_are_a_problem_where_a_package_ships_them(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "lfw_subset.npy", np.random.default_rng(0).random((200, 25, 25)))
    find, spec = importlib.util.find_spec, importlib.util.spec_from_file_location("skimage", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "skimage" else find(name))
    faces = [problem for problem in testbench.standard_problems() if problem.name.startswith("faces")]
    assert [problem.memory.patterns.shape for problem in faces] == [(100, 625)] * 2
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else find(name))
    assert not any(problem.name.startswith("faces") for problem in testbench.standard_problems())


def test_verdicts_are_a_page(tmp_path):
    good, bad = testbench.check(exact(CUE), CUE, key=KEY), testbench.check(lambda d, z, s, k: z, NOISE, key=KEY)
    save_page([good, bad], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 of 2 checks failed" in text
    assert str(bad).split(",")[0] in text
    for picture in text.split("<svg")[1:]:
        assert len(ET.fromstring("<svg" + picture.split("</svg>")[0] + "</svg>").findall("rect")) == 8


def test_the_fixture_fails_with_the_verdict(assert_samples_exactly):  # noqa: F811
    assert_samples_exactly(exact(CUE), [CUE], key=KEY)
    with pytest.raises(pytest.fail.Exception, match=r"from a cue: FAILED"):
        assert_samples_exactly(lambda d, z, s, key: z, [CUE], key=KEY)


# Two-stage schedulers evaluate between levels, and some take no generator; each is a case of the adapter.
SCHEDULERS = [
    ("DDPMScheduler", {"variance_type": "fixed_large"}),
    ("DDIMScheduler", {"eta": 0.0}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of diffusers' own grids
@pytest.mark.parametrize(("name", "config"), SCHEDULERS)
def test_schedulers_of_diffusers(name, config):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    sampler = testbench.diffusers_sampler(getattr(diffusers, name), steps=120, **config)
    draws = name not in {"DDIMScheduler", "HeunDiscreteScheduler"}  # as the problem from a cue needs
    verdict = testbench.judge(sampler, [CUE, NOISE] if draws else [NOISE], 2000, key=1)
    assert verdict.passed, str(verdict)


def test_what_is_no_scheduler_is_named():
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    for given, line in (
        (int, "scheduler: got int; a class"),
        (diffusers.FlowMatchEulerDiscreteScheduler, "scheduler: got FlowMatchEulerDiscreteScheduler, which takes no"),
    ):
        with pytest.raises(dispersed.InputError, match=f"^{line}"):
            testbench.diffusers_sampler(given)
    with pytest.raises(dispersed.InputError, match=r"^nonsense: DDPMScheduler does not take it"):
        testbench.diffusers_sampler(diffusers.DDPMScheduler, nonsense=1)
    with pytest.raises(dispersed.InputError, match=r"^key: got a key of JAX; a sampler of PyTorch is"):
        testbench.check(testbench.diffusers_sampler(diffusers.DDPMScheduler), CUE, 10, key=KEY)


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m"])
def test_samplers_of_k_diffusion(name):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'dispersed[torch]'")
    if importlib.util.find_spec("k_diffusion") is None:
        pytest.skip("k-diffusion is not installed")
    sample = getattr(k_diffusion_sampling(), f"sample_{name}")
    problems = [NOISE] if name == "dpmpp_2m" else [CUE, NOISE]
    assert testbench.judge(testbench.k_diffusion_sampler(sample, steps=120), problems, 2000, key=1).passed


@pytest.mark.parametrize("name", ["DDPMSampler", "HeunSampler"])
def test_samplers_of_azula(name):
    sample = pytest.importorskip("azula.sample", reason="azula is not installed")
    problems = [NOISE] if name == "HeunSampler" else [CUE, NOISE]
    sampler = testbench.azula_sampler(getattr(sample, name), steps=120)
    assert testbench.judge(sampler, problems, 2000, key=1).passed
