r"""Where on the spectrum from episodic to semantic is a memory, at a state and a noise level (Sec. 6.1)?

An episodic memory is localised: at its σ one stored pattern answers for a state, no direction is left open and
recall ends on what was stored. A semantic one is not: many patterns share the state, a manifold of directions
stays open, and recall ends between what was stored.
"""

import jax
import jax.numpy as jnp

from dispersed.memories import Denoiser, Memory
from dispersed.memories.associative_memory import AssociativeMemory, of_states
from dispersed.posterior import entropy
from dispersed.types import Array, ArrayLike, Float, Scalar, State
from dispersed.validation import InputError


def effective_patterns(memory: AssociativeMemory, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "..."]:
    """The effective number of patterns behind each state: the exponential of the entropy of p(j | x). 1 is episodic.

    `x`: (..., d), `sigma` > 0. Raises `InputError` for memories without responsibilities.
    """
    if not isinstance(memory, Memory):
        raise InputError("memory", f"a {type(memory).__name__} has no responsibilities", "memories with a density")
    return of_states(_effective_patterns, memory, x, sigma)


def jacobian_spectrum(memory: Denoiser, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "... d"]:
    """The eigenvalues of ∂D_σ/∂x = Cov[y | x]/σ², largest first, (..., d).

    1 along directions in which the memory is open at the scale of σ, 0 across them, and above 1 between
    memories that σ is about to separate.
    """
    _check_denoiser(memory)
    return of_states(_jacobian_spectrum, memory, x, sigma)


def local_dimension(memory: Denoiser, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "..."]:
    """The dimension of a memory at x and σ (Sec. 5.2): open directions, Σ min(eigenvalue, 1) of ∂D_σ/∂x.

    0 at an isolated point, k on a flat memory of k dimensions that is wide against σ. Eigenvalues above 1,
    which mark a decision between memories, count as one direction each.
    """
    _check_denoiser(memory)
    return of_states(_local_dimension, memory, x, sigma)


def participation(memory: Denoiser, x: ArrayLike, sigma: ArrayLike) -> Float[Array, "..."]:
    """The participation ratio (Σ e)²/Σ e² of the eigenvalues e of ∂D_σ/∂x: over how many directions they are spread.

    Blind to the size of the eigenvalues: it is 1 for a single direction, however little open.
    """
    _check_denoiser(memory)
    return of_states(_participation, memory, x, sigma)


def distance_to_memory(memory: AssociativeMemory, x: ArrayLike) -> Float[Array, "..."]:
    """The distance from x to the nearest state of the memory, (...): 0 for a faithful recall.

    Raises `InputError` for memories without a nearest state, such as a trained network.
    """
    if not isinstance(memory, Memory):
        raise InputError("memory", f"a {type(memory).__name__} has no nearest state", "extended memories have one")
    return of_states(_distance_to_memory, memory, x)


def _check_denoiser(memory: Denoiser) -> None:
    if not isinstance(memory, Denoiser):
        raise InputError("memory", f"a {type(memory).__name__} has no denoiser", "memories and trained networks do")


def _effective_patterns(memory: Memory, x: State, sigma: Scalar) -> Scalar:
    return jnp.exp(entropy(memory._responsibilities(x, sigma)))


def _jacobian_spectrum(memory: Denoiser, x: State, sigma: Scalar) -> Float[Array, " d"]:
    jacobian = memory._jacobian(x, sigma)
    return jnp.linalg.eigvalsh((jacobian + jacobian.T) / 2)[::-1]


def _local_dimension(memory: Denoiser, x: State, sigma: Scalar) -> Scalar:
    return jnp.clip(_jacobian_spectrum(memory, x, sigma), 0, 1).sum()


def _participation(memory: Denoiser, x: State, sigma: Scalar) -> Scalar:
    spectrum = jnp.clip(_jacobian_spectrum(memory, x, sigma), 0, None)
    # Between memories that are far apart beside σ squares of eigenvalues overflow.
    spectrum = spectrum / jnp.where(spectrum[0] > 0, spectrum[0], 1)
    square = jnp.sum(spectrum**2)
    return jnp.where(square > 0, spectrum.sum() ** 2 / jnp.where(square > 0, square, 1), 0)


def _distance_to_memory(memory: Memory, x: State) -> Scalar:
    off = x - memory._project(x)
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(off)))  # in which squares are numbers
    # At the memory itself, where the norm has no slope, that is 0: what a minimum has.
    return unit * jnp.linalg.norm(jnp.where(unit > 0, off / jnp.where(unit > 0, unit, 1), 1))
