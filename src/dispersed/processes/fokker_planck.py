r"""The transition kernel of a `PotentialProcess` in one and two dimensions, by its Fokker–Planck equation

    ∂p/∂t = −∇·(p ∇v) + ½σ(t)² ∆p

on a grid of cells, between walls that let nothing through. Densities live in cells; between neighbours i and j
at distance h probability jumps at the rates of Scharfetter & Gummel (1969), which Chang & Cooper (1970) use too,

    r_{i→j} = D/h² · B((v_i − v_j)/D),   B(a) = a/(e^a − 1),   D = σ²/2.

Flows between two cells balance exactly at p ∝ e^{v/D}; nothing is lost; no rate is negative, whatever the drift.
The error is O(h²).

In time p ← e^{hL} p, with σ held at the middle of each step (exact for constant σ, order 2 otherwise). The
exponential is summed as a Poisson mixture of jumps, e^{hL} = Σ_k e^{−hΛ}(hΛ)^k/k! (1 + L/Λ)^k. Every term is
positive, so even densities of 1e-200 keep their leading digits, and energies, which are their logarithms, too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from numpy.typing import ArrayLike

from dispersed.processes.conservative import PotentialProcess
from dispersed.validation import InputError, at_least, log_prior, pattern_array, positive_number


class FokkerPlanck:
    """The Fokker–Planck equation of a `PotentialProcess` on a grid in one or two dimensions, in float64.

    **Arguments**

    - `low`, `high`: the corners of the box, (d,) with d = 1 or 2; wide enough that what reaches the walls may
      be neglected.
    - `cells`: cells along each axis. Kernels need several cells in their width σ√t, and energies far from a
      pattern, at |x − y|, a cell well below σ²t/|x − y|.

    **Raises** `InputError` for a box that is empty or not finite, d > 2, and a potential not finite in it.

    **Source**: Scharfetter & Gummel (1969); Chang & Cooper (1970); Grassmann (1977) for the exponential.
    """

    process: PotentialProcess
    axes: list[Float[np.ndarray, " cells"]]
    """The cell centres along each axis."""
    potential: np.ndarray
    """The potential v at the cell centres, (cells,) * d."""

    def __init__(self, process: PotentialProcess, low: ArrayLike, high: ArrayLike, cells: int = 400) -> None:
        corners = [np.atleast_1d(np.asarray(corner, dtype=float)) for corner in (low, high)]
        if corners[0].shape != corners[1].shape or corners[0].shape not in ((1,), (2,)):
            shapes = f"got shapes {corners[0].shape} and {corners[1].shape}"
            raise InputError("low, high", shapes, "corners of a box in one or two dimensions are accepted")
        if not np.isfinite(corners).all() or not (corners[0] < corners[1]).all():
            raise InputError("low, high", f"got {corners[0]} and {corners[1]}", "finite, low < high, is accepted")
        cells = at_least("cells", cells, 4)
        self.process = process
        self.low, self.width = corners[0], (corners[1] - corners[0]) / cells
        self.cells = cells
        self.axes = [a + h * (np.arange(cells) + 0.5) for a, h in zip(self.low, self.width, strict=True)]
        self.potential = self._potential()

    def __repr__(self) -> str:
        return f"FokkerPlanck({self.process}, {' × '.join([str(self.cells)] * self.dimension)} cells, float64)"

    @property
    def dimension(self) -> int:
        return len(self.axes)

    @property
    def states(self) -> Float[np.ndarray, "... d"]:
        """The cell centres, (cells,) * d + (d,)."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)

    def kernel(self, patterns: ArrayLike, t: float, steps: int = 1) -> Float[np.ndarray, "n ..."]:
        """The densities k(x, t; y_j) at all cell centres, (n,) + (cells,) * d, from patterns (n, d).

        A pattern between cell centres is divided among its neighbours, which keeps its mean exactly and adds at
        most h²/4 to its variance. `steps` matter for time-dependent σ only.

        Raises `InputError` for patterns outside the box and t ≤ 0.
        """
        p = self._start(np.asarray(pattern_array(np.asarray(patterns)), dtype=float))
        h = positive_number("t", t) / at_least("steps", steps, 1)
        for step in range(steps):
            p = self._advance(p, h, float(self._sigma((step + 0.5) * h)))
        return p.T.reshape(-1, *self.potential.shape) / self.width.prod()

    def density(self, patterns: ArrayLike, t: float, weights: ArrayLike | None = None, steps: int = 1) -> np.ndarray:
        """The marginal density p_t(x) = Σ_j w_j k(x, t; y_j) (Eq. 17) at all cell centres, (cells,) * d."""
        kernels = self.kernel(patterns, t, steps)
        prior = log_prior(weights, None, len(kernels))
        w = np.full(len(kernels), 1 / len(kernels)) if prior is None else np.exp(np.asarray(prior))
        return np.tensordot(w, kernels, axes=1)

    def energy(self, patterns: ArrayLike, t: float, weights: ArrayLike | None = None, steps: int = 1) -> np.ndarray:
        """The energy u(x, t) of Eq. 18 at all cell centres, (cells,) * d; inf where the density is below 1e-300."""
        with np.errstate(divide="ignore"):
            log_density = np.log(self.density(patterns, t, weights, steps))
        return self.potential - float(self._sigma(t)) ** 2 * log_density

    def _potential(self) -> np.ndarray:
        # The differences of v between neighbours matter: they need double precision.
        with jax.enable_x64(True):
            states = jnp.asarray(self.states.reshape(-1, self.dimension), dtype=jnp.float64)
            v = np.asarray(jax.vmap(self.process.potential)(states), dtype=float)
        if v.shape != (len(states),) or not np.isfinite(v).all():
            raise InputError("potential", "got no finite number somewhere in the box", "give a smaller box")
        return v.reshape((self.cells,) * self.dimension)

    def _sigma(self, t: float) -> float:
        with jax.enable_x64(True):
            return positive_number("sigma", float(self.process.sigma(jnp.asarray(t, dtype=jnp.float64))))

    def _start(self, patterns: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "states n"]:
        """Unit masses at the patterns, shared linearly among the nearest cells."""
        high = self.low + self.cells * self.width
        if patterns.shape[1] != self.dimension or (patterns < self.low).any() or (patterns > high).any():
            box = f"patterns of {self.dimension} units between {self.low} and {high} are accepted"
            raise InputError("patterns", "got some outside the box", box)
        p = np.zeros((*self.potential.shape, len(patterns)))
        place = np.clip((patterns - self.low) / self.width - 0.5, 0, self.cells - 1)
        lower = np.minimum(place.astype(int), self.cells - 2)
        part = place - lower
        for j, (cell, share) in enumerate(zip(lower, part, strict=True)):
            for corner in np.ndindex((2,) * self.dimension):
                mass = np.prod(np.where(corner, share, 1 - share))
                p[(*(cell + corner), j)] += mass
        return p.reshape(-1, len(patterns))

    def _advance(self, p: Float[np.ndarray, "states n"], h: float, sigma: float) -> Float[np.ndarray, "states n"]:
        """e^{hL} p with σ held: the sum over the number k of jumps of a Poisson clock."""
        from scipy.stats import poisson  # half a second to import

        rates = self._rates(sigma)
        leaving = np.asarray(rates.sum(axis=0)).ravel()
        clock = leaving.max()
        jump = (rates + sp.diags(clock - leaving)).tocsr() / clock
        # The bulk needs √(mean) jumps more than the mean, the far tails of the density some more than that.
        mean = clock * h
        last = int(mean + 20 * np.sqrt(mean) + 200)
        weight = poisson.pmf(np.arange(last + 1), mean)
        total = weight[0] * p
        for k in range(1, last + 1):
            p = jump @ p
            total += weight[k] * p
        return total / weight.sum()

    def _rates(self, sigma: float) -> sp.csr_matrix:
        """Rates of jumping, from the column's cell to the row's, per unit of time."""
        d = sigma**2 / 2
        number = np.arange(self.potential.size).reshape(self.potential.shape)
        rows, columns, entries = [], [], []
        for axis, h in enumerate(self.width):
            here = number.take(range(self.cells - 1), axis).ravel()
            there = number.take(range(1, self.cells), axis).ravel()
            climb = (self.potential.ravel()[there] - self.potential.ravel()[here]) / d
            for start, end, gain in ((here, there, climb), (there, here, -climb)):
                rows.append(end)
                columns.append(start)
                entries.append(d / h**2 * _bernoulli(-gain))
        place = (np.concatenate(rows), np.concatenate(columns))
        return sp.csr_matrix((np.concatenate(entries), place), shape=(number.size,) * 2)


def _bernoulli(a: np.ndarray) -> np.ndarray:
    """a/(e^a − 1), 1 at 0."""
    small = np.abs(a) < 1e-6
    safe = np.where(small, 1.0, a)
    return np.where(small, 1 - a / 2, safe / np.expm1(np.minimum(safe, 700)))
