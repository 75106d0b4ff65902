r"""The theorem of Sec. 3.2 as an experiment: does the noise's potential matter in the end?

For noise dx = ∇v dt + σ dW the energy is u = −σ² log Σ_j w_j e^{ψ(x, t; y_j)} + v (Eq. 18). As t, the noise
injected, goes to 0 it is claimed to become Eq. 21, the energy of pure Brownian noise. Both diverge as 1/t, so
they are compared after multiplication by t, where the limit is finite, and up to an additive constant:

    t·u(x, t)   and   −tσ² log Σ_j w_j exp(−‖x − y_j‖²/(2tσ²)).

The largest difference over −1.5 ≤ x ≤ 1.8 is fitted by a power of t. What to expect follows from the kernel at
short times, ψ = −‖x − y‖²/(2tσ²) + (v(x) − v(y))/σ² + O(t) up to a constant: the v(x) of Eq. 18 does not merely
stay finite, it cancels, and what is left of v is a weight e^{−v(y_j)/σ²} for each pattern. So Eq. 21 is met with
an error O(t), and with weights w_j e^{−v(y_j)/σ²} in it, O(t²).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from dispersed.paper.results import Row
from dispersed.paper.statistics import power_law
from dispersed.processes import FokkerPlanck, PotentialProcess
from dispersed.progress import track
from dispersed.types import Array
from dispersed.validation import at_least, random_seed

PATTERNS = np.array([[-1.0], [0.4], [1.3]])
RANGE = np.linspace(-1.5, 1.8, 331)
TIMES = (0.16, 0.08, 0.04, 0.02, 0.01)
RATE = 2.0
"""The rate γ of the Ornstein–Uhlenbeck process."""


def double_well(x: Array) -> Array:
    """The potential v = −(‖x‖² − 1)²/4: wells at ±1, in two dimensions on the unit circle."""
    return -((jnp.sum(x**2) - 1) ** 2) / 4


def quartic(x: Array) -> Array:
    """The potential v = −‖x‖⁴/4."""
    return -(jnp.sum(x**2) ** 2) / 4


def ornstein_uhlenbeck(x: Array) -> Array:
    """The potential v = −γ‖x‖²/4."""
    return -RATE * jnp.sum(x**2) / 4


PROCESSES: dict[str, PotentialProcess] = {
    "double_well": PotentialProcess(double_well),
    "quartic": PotentialProcess(quartic),
    "ornstein_uhlenbeck": PotentialProcess(ornstein_uhlenbeck),
    "double_well_sigma_t": PotentialProcess(double_well, lambda t: jnp.sqrt(1 + 2 * t)),
}
LABELS = {
    "double_well": "double well, v = −(x² − 1)²/4",
    "quartic": "quartic, v = −x⁴/4",
    "ornstein_uhlenbeck": "Ornstein–Uhlenbeck, v = −x²/2",
    "double_well_sigma_t": "double well, σ(t)² = 1 + 2t",
}
COMPARED = {
    "eq21": "Eq. 21",
    "eq21_weighted": "Eq. 21 with weights exp(−v(y)/σ²)",
    "linearised": "Eq. 18 with the linearised kernel (Eq. 19)",
}
"""What the true energy of Eq. 18 is compared with."""


def potential(seed: int = 0, finest: int = len(TIMES), paths: int = 20_000) -> tuple[list[Row], dict[str, np.ndarray]]:
    """The differences and their exponents, for the `finest` first of the times; a check of simulated paths.

    Returns rows of three kinds, named in the column `part`:

    - "difference": `potential`, `compared`, `t`, `difference` (in t·u), `numerical_error` of the Fokker–Planck
      energy, by halving its cells (for Ornstein–Uhlenbeck, against the closed form).
    - "rate": `potential`, `compared`, `exponent`, `ci_low`, `ci_high`.
    - "paths": `paths` simulated in two dimensions against the Fokker–Planck density: `statistic`, `freedom`,
      `p_value` of the χ² test over blocks of cells.

    and arrays for the figure: energies by name and time, the density in two dimensions and some paths' ends.
    """
    random_seed(seed)
    at_least("finest", finest, 3)
    at_least("paths", paths, 1000)
    rows: list[Row] = []
    pictures: dict[str, np.ndarray] = {}
    jobs = [(name, t) for name in PROCESSES for t in TIMES[:finest]]
    for name, t in track(jobs, "Potential"):
        process = PROCESSES[name]
        truth, error = _energy(process, t)
        if name == "ornstein_uhlenbeck":
            exact = t * _ornstein_uhlenbeck(t)
            error = _spread(truth - exact)
        pictures[f"{name}, {t}"] = truth
        for compared, other in _others(process, t).items():
            rows.append(
                {
                    "part": "difference",
                    "potential": name,
                    "compared": compared,
                    "t": t,
                    "difference": _spread(truth - other),
                    "numerical_error": error,
                }
            )
    for name in PROCESSES:
        for compared in COMPARED:
            cells = [r for r in rows if (r["potential"], r["compared"]) == (name, compared)]
            # Of a quadratic potential the linearised kernel is exact: no power of t to fit.
            if min(cell["difference"] / cell["numerical_error"] for cell in cells) < 3:
                continue
            found = power_law([cell["t"] for cell in cells], [cell["difference"] for cell in cells])
            rows.append(
                {"part": "rate", "potential": name, "compared": compared}
                | dict(zip(("exponent", "ci_low", "ci_high"), found, strict=True))
            )
    rows.append(_paths(seed, paths, pictures))
    return rows, pictures


def _energy(process: PotentialProcess, t: float) -> tuple[np.ndarray, float]:
    """T·u of Eq. 18 on `RANGE`, extrapolated from two grids, and by how much that changed it."""
    found = []
    width = min(0.005, t / 6)
    for h in (width, width / 2):
        solver = FokkerPlanck(process, [-2.75], [3.05], round(5.8 / h))
        steps = 1 if process is not PROCESSES.get("double_well_sigma_t") else 8
        energy = t * solver.energy(PATTERNS, t, steps=steps)
        # The tails beyond the range are steep and of no interest.
        near = abs(solver.axes[0] - 0.15) < 1.75
        found.append(CubicSpline(solver.axes[0][near], energy[near])(RANGE))
    coarse, fine = found
    return (4 * fine - coarse) / 3, _spread(fine - coarse) / 3


def _ornstein_uhlenbeck(t: float) -> np.ndarray:
    """Eq. 18 in closed form: kernels N(y e^{−γt/2}, (1 − e^{−γt})/γ)."""
    variance = -np.expm1(-RATE * t) / RATE
    gap = RANGE - PATTERNS * np.exp(-RATE * t / 2)
    log_density = logsumexp(-(gap**2) / (2 * variance), axis=0) - np.log(3 * np.sqrt(2 * np.pi * variance))
    return -log_density - RATE * RANGE**2 / 4


def _others(process: PotentialProcess, t: float) -> dict[str, np.ndarray]:
    """What t·u is compared with, on `RANGE`. σ = 1 at t = 0 in every process here."""
    exponent = -((RANGE - PATTERNS) ** 2) / (2 * t)
    v = np.asarray(_heights(process.potential, PATTERNS.astype(np.float32)))
    with jax.enable_x64(True):
        linearised = np.asarray(process.energy(jnp.asarray(RANGE)[:, None], t, jnp.asarray(PATTERNS)))
    return {
        "eq21": -t * logsumexp(exponent, axis=0),
        "eq21_weighted": -t * logsumexp(exponent - v[:, None], axis=0),
        "linearised": t * linearised,
    }


@functools.partial(jax.jit, static_argnums=0)
def _heights(potential: Callable[[Array], Array], states: Array) -> Array:
    """A potential at each of several states."""
    return jax.vmap(potential)(states)


def _spread(difference: np.ndarray) -> float:
    """The largest difference after the additive constant that makes it least."""
    return float(np.ptp(difference) / 2)


def _paths(seed: int, count: int, pictures: dict[str, np.ndarray]) -> Row:
    """Simulated paths in two dimensions, counted in blocks of Fokker–Planck cells."""
    process, t, start = PROCESSES["double_well"], 0.5, np.array([[0.3, -0.2]])
    solver = FokkerPlanck(process, [-3, -3], [3, 3], 120)
    density = solver.kernel(start, t)[0]
    ends = np.asarray(process.corrupt(np.broadcast_to(start[0], (count, 2)), t=t, key=jax.random.key(seed), steps=100))
    blocks = 24
    edges = np.linspace(-3, 3, blocks + 1)
    counts = np.histogram2d(ends[:, 0], ends[:, 1], bins=edges)[0].ravel()
    mass = density.reshape(blocks, 5, blocks, 5).sum(axis=(1, 3)).ravel() * solver.width.prod()
    expected = count * mass
    common = expected >= 5
    observed = np.append(counts[common], count - counts[common].sum())
    expected = np.append(expected[common], count - expected[common].sum())
    test = stats.chisquare(observed, expected)
    pictures["density"], pictures["ends"] = density, ends[:1500]
    return {
        "part": "paths",
        "potential": "double_well",
        "t": t,
        "paths": count,
        "statistic": float(test.statistic),
        "freedom": len(observed) - 1,
        "p_value": float(test.pvalue),
    }
