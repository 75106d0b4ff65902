"""Mixtures of memories of different kinds and dimensions."""

import numpy as np
import pytest

from dispersed import ClassicalHopfield, ExponentialIntegrator, Observation, PatternMemory, condition, recall
from dispersed.memories import Box, Denoiser, GaussianMemory, Mixture, Segment, Sphere, Subspace
from dispersed.validation import InputError

SIGMAS = (1e-4, 1e-2, 0.3, 1.0, 30.0, 1e3)
OF_A_PART = ("log_density", "denoise", "energy")


def parts():
    """A point, two segments, a circle, a box, a plane and two blobs in three units."""
    plane = np.array([[1.0, 1, 0], [0, 1, 1]])
    return [
        Segment([0.0, 0, 0], [1.0, 1, 0]),
        PatternMemory(np.array([[2.0, 0, 0], [0, 2, 0]])),
        Sphere([0.0, 0, 2], 0.5, plane),
        Segment([3.0, 0, 0], [3.0, 1, 0]),
        Box([-3.0, -1, -1], [-2.0, 1, 0]),
        Subspace([0.0, 0, -4], plane, -1.0, 1.0),
        GaussianMemory([0.0, -3, 0], np.diag([0.5, 0.1, 0.0])),
        GaussianMemory([0.0, -5, 0], np.diag([0.1, 0.1, 0.7])),
    ]


def mixture():
    return Mixture(parts(), np.arange(1.0, 9))


def test_density_and_denoiser_are_those_of_the_components(x64, rng, everything):
    memory, weights = mixture(), np.arange(1.0, 9) / 36
    for sigma in SIGMAS:
        x = np.concatenate([3 * rng.normal(size=(5, 3)), np.zeros((1, 3))])
        each = [everything(part, x, sigma, OF_A_PART) for part in parts()]
        log_p = np.stack([of["log_density"] for of in each]) + np.log(weights)[:, None]
        top = log_p.max(0)
        share = np.exp(log_p - top)
        of = everything(memory, x, sigma)
        np.testing.assert_allclose(of["log_density"], top + np.log(share.sum(0)), rtol=1e-10)
        share /= share.sum(0)
        index, responsibility = of["nearest"]
        np.testing.assert_array_equal(index, share.argmax(0))
        np.testing.assert_allclose(responsibility, share.max(0), atol=1e-6)
        means = np.stack([of["denoise"] for of in each])
        np.testing.assert_allclose(of["denoise"], np.einsum("kb,kbd->bd", share, means), atol=1e-6)


def test_score_and_denoiser_are_the_slope_of_the_density(x64, rng, everything):
    memory = mixture()
    for sigma in SIGMAS:
        x = 3 * rng.normal(size=(6, 3))
        of = everything(memory, x, sigma)
        np.testing.assert_allclose(of["denoise"], x + sigma**2 * of["slope"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(of["denoise"], x + sigma**2 * of["score"], atol=1e-12)
        np.testing.assert_allclose(of["energy"], -(sigma**2) * of["log_density"], rtol=1e-12)


@pytest.mark.parametrize("number", [0, 1, 2, 6])
def test_a_mixture_of_one_is_its_component(x64, rng, everything, number):
    part = parts()[number]
    memory = Mixture([part])
    x = 3 * rng.normal(size=(6, 3))
    for sigma in (1e-4, 0.3, 1e3):
        found, expected = (everything(one, x, sigma, OF_A_PART) for one in (memory, part))
        for name in OF_A_PART:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(memory.project(x), part.project(x))
    mean, level = memory.prior_start()
    alone, alone_level = part.prior_start()
    np.testing.assert_allclose(mean, alone)
    np.testing.assert_allclose(level, alone_level)


def test_points_in_a_mixture_are_a_pattern_memory_down_to_near_ties_in_single_precision(rng):
    patterns = (rng.normal(size=(30, 64)) * 3).astype(np.float32)
    patterns[7] = patterns[3]
    points = Mixture([Segment(y, y) for y in patterns])
    memory = PatternMemory(patterns)
    for sigma in (1e-4, 1e-2, 1.0, 1e3):
        # On the way between two patterns, a hair nearer to one: differences of log densities would be noise.
        half = (patterns[0] + patterns[1]) / 2
        x = np.stack(
            [
                half + 1e-4 * (patterns[0] - patterns[1]),
                half + 1e-3 * (patterns[0] - patterns[1]),
                patterns[3],
                patterns[5] + 1e6,
            ]
        )
        np.testing.assert_allclose(points.responsibilities(x, sigma), memory.responsibilities(x, sigma), atol=1e-5)
        np.testing.assert_allclose(points.denoise(x, sigma), memory.denoise(x, sigma), rtol=1e-5, atol=1e-4)


def test_single_precision_is_finite_everywhere(rng):
    memory = mixture()
    for sigma in SIGMAS:
        x = np.concatenate([rng.normal(size=(4, 3)), np.full((1, 3), 1e15), np.zeros((1, 3))])
        assert np.isfinite(memory.denoise(x, sigma)).all()
        np.testing.assert_allclose(memory.responsibilities(x, sigma).sum(-1), 1, rtol=1e-5)


def test_a_thousand_segments_are_evaluated_together(rng):
    starts, ends = rng.normal(size=(2, 1000, 3))
    memory = Mixture([Segment(a, b) for a, b in zip(starts, ends, strict=True)])
    assert len(memory.groups) == 1
    index, _ = memory.nearest((starts + ends) / 2, 1e-3)
    assert (np.asarray(index) == np.arange(1000)).mean() > 0.99


@pytest.mark.slow
def test_recall_names_the_component_and_ends_on_it(x64, rng):
    memory = mixture()
    cues = np.array([[0.5, 0.4, 0.1], [2.0, 0.1, 0], [0.1, 0, 2.4], [3.1, 0.5, 0], [-2.5, 0, -0.2], [0, 0, -4.1]])
    result = recall(memory, cues, ExponentialIntegrator(20, sigma_min=0.003), sigma=0.2)
    np.testing.assert_array_equal(result.index, np.arange(6))
    assert (np.asarray(result.responsibility) > 0.99).all()
    np.testing.assert_allclose(result.x, memory.project(result.x), atol=1e-3)


def test_project_is_the_nearest_point_of_all(x64, rng):
    x = 3 * rng.normal(size=(20, 3))
    shapes = parts()[:6]
    points = np.stack([part.project(x) for part in shapes])
    distance = np.linalg.norm(points - x, axis=-1)
    np.testing.assert_allclose(Mixture(shapes).project(x), points[distance.argmin(0), np.arange(20)])


def test_volumes_as_weights_give_the_undivided_integrals_of_eq_23(x64, rng, nodes):
    segments = [Segment([0.0, 0], [1.0, 0]), Segment([0.0, 1], [4.0, 1])]
    memory = Mixture(segments, np.stack([s.volume for s in segments]))
    sigma = 0.7
    x = rng.normal(size=(2, 2))
    undivided = []
    for state in x:
        total = 0.0
        for length, height in ((1.0, 0.0), (4.0, 1.0)):
            at, weight = np.polynomial.legendre.leggauss(60)
            y = np.stack([(at + 1) / 2 * length, np.full(60, height)], axis=1)
            # exp(β xᵀy − β‖y‖²/2), as Eq. 23 reads once its Gaussian factor is put back
            total += weight / 2 * length @ np.exp((y @ state - (y**2).sum(1) / 2) / sigma**2)
        undivided.append(-(sigma**2) * np.log(total) + state @ state / 2)
    energies = np.asarray(memory.energy(x, sigma))
    np.testing.assert_allclose(energies[0] - energies[1], undivided[0] - undivided[1], rtol=1e-12)


def test_mixtures_nest(x64, rng):
    inner = Mixture(parts()[:2], [1.0, 3.0])
    outer = Mixture([inner, parts()[2]], [4.0, 5.0])
    flat = Mixture(parts()[:3], [1.0, 3.0, 5.0])
    x = rng.normal(size=(4, 3))
    np.testing.assert_allclose(outer.log_density(x, 0.4), flat.log_density(x, 0.4), rtol=1e-12)
    np.testing.assert_allclose(outer.denoise(x, 0.4), flat.denoise(x, 0.4), rtol=1e-10)


def test_a_gaussian_mixture_completes_from_known_units(x64, rng):
    means, factors = rng.normal(size=(3, 4)) * 2, 0.5 * rng.normal(size=(3, 4, 4))
    weights = np.array([0.2, 0.3, 0.5])
    memory = Mixture([GaussianMemory(m, f) for m, f in zip(means, factors, strict=True)], weights)
    known, sigma, x = np.array([True, True, False, False]), 0.3, means[1] + 0.1
    conditional = condition(memory, Observation(x, mask=known, sigma=sigma))
    log_w = []
    for w, m, f in zip(weights, means, factors, strict=True):
        seen = (f @ f.T)[:2, :2] + sigma**2 * np.eye(2)
        log_w.append(np.log(w) - (x - m)[:2] @ np.linalg.solve(seen, (x - m)[:2]) / 2 - np.linalg.slogdet(seen)[1] / 2)
    expected = np.exp(log_w - np.max(log_w))
    np.testing.assert_allclose(conditional.weights, expected / expected.sum(), rtol=1e-9)
    result = recall(memory, np.where(known, x, 0.0), sigma=sigma, known=known)
    np.testing.assert_array_equal(result.x[:2], x[:2])


class Blind(Denoiser):
    @property
    def dimension(self):
        return 3

    def _denoise(self, x, sigma):
        return x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture([]), "components: got none; at least one memory"),
        (lambda: Mixture([parts()[0], Segment([0.0], [1.0])]), "components: got memories of 1, 3 units"),
        (lambda: Mixture([parts()[0], Blind()]), "components: got Blind as component 1; memories with a density"),
        (lambda: Mixture([ClassicalHopfield(np.ones((1, 3)))]), "components: got ClassicalHopfield as component 0"),
        (lambda: Mixture(parts()[:2], [1.0]), r"weights: got shape \(1,\); one weight per component, shape \(2,\)"),
        (lambda: Mixture(parts()[:2], [-1.0, 2.0]), "weights: got -1; weights must not be negative"),
    ],
)
def test_bad_mixtures_get_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make()
