r"""Where on the spectrum from episodic to semantic is a memory, at a state and a noise level (Sec. 6.1)?

An episodic memory is localised: at its σ one stored pattern answers for a state, no direction is left open and
recall ends on what was stored. A semantic one is not: many patterns share the state, a manifold of directions
stays open, and recall ends between what was stored.
"""

import jax.numpy as jnp
from jax.scipy.special import entr

from dispersed.memories.batching import per_state
from dispersed.memories.memory import Denoiser, Memory
from dispersed.types import Array, Float, Scalar, State
from dispersed.validation import InputError


@per_state
def effective_patterns(memory: Denoiser, x: State, sigma: Scalar) -> Scalar:
    """Exp of the entropy of p(j | x): how many stored items answer for x at σ. 1 is episodic.

    `x`: (..., d), `sigma` > 0. Raises `InputError` for memories without responsibilities.
    """
    if not hasattr(memory, "responsibilities"):
        raise InputError("memory", f"a {type(memory).__name__} has no responsibilities", "mixtures have")
    return jnp.exp(entr(memory.responsibilities(x, sigma)).sum())


@per_state
def jacobian_spectrum(memory: Denoiser, x: State, sigma: Scalar) -> Float[Array, " d"]:
    """Eigenvalues of ∂D_σ/∂x = Cov[y | x]/σ², largest first, (..., d).

    1 along directions in which the memory is open at the scale of σ, 0 across them, and above 1 between
    memories that σ is about to tell apart.
    """
    jacobian = memory.jacobian(x, sigma)
    return jnp.linalg.eigvalsh((jacobian + jacobian.T) / 2)[::-1]


@per_state
def local_dimension(memory: Denoiser, x: State, sigma: Scalar) -> Scalar:
    """The number of directions open at x and σ: Σ min(eigenvalue, 1) of ∂D_σ/∂x.

    0 at an isolated point, k on a flat memory of k dimensions that is wide against σ. Eigenvalues above 1,
    which mark a decision between memories, count as one direction each.
    """
    return jnp.clip(jacobian_spectrum(memory, x, sigma), 0, 1).sum()


@per_state
def participation(memory: Denoiser, x: State, sigma: Scalar) -> Scalar:
    """(Σ e)²/Σ e² of the eigenvalues e of ∂D_σ/∂x: over how many directions the openness is spread.

    Blind to the size of the eigenvalues: it says 1 for a single direction, however little open.
    """
    spectrum = jnp.clip(jacobian_spectrum(memory, x, sigma), 0, None)
    square = jnp.sum(spectrum**2)
    return jnp.where(square > 0, spectrum.sum() ** 2 / jnp.where(square > 0, square, 1), 0)


@per_state
def distance_to_memory(memory: Memory, x: State) -> Scalar:
    """The distance from x to the nearest state of the memory, (...): 0 for a faithful recall."""
    return jnp.linalg.norm(x - memory.project(x))
