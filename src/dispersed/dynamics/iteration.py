"""Hopfield recall: hold the noise level and iterate the update to a fixed point."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.result import ENDINGS, Outcome
from dispersed.dynamics.stability import ending
from dispersed.memories import BinaryNetwork, Denoiser, Held, Network
from dispersed.memories.associative_memory import without_derivatives
from dispersed.precision import full_precision
from dispersed.processes import Process
from dispersed.types import Array, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least


class Iteration(Dynamics):
    """x ← update(x), all units at once, until nothing moves.

    Of a `Network` the update is its own; of a memory at noise level σ it is x ← D_σ(x), which for patterns
    of equal norm is the modern Hopfield update at β = 1/σ².

    **Arguments**

    - `steps`: the most updates made.
    - `tol`: a fixed point is a state that no unit leaves by more than `tol`·max(ℓ, max|x_i|). The length ℓ is the
      largest entry of the patterns of a network of real-valued ones, and of other networks the largest entry of the
      cue, or 1 if that is less. Where updates do not depend on the origin it is `tol`·ℓ, or round-off of max|x_i| if
      that is more: ℓ is σ of a memory, the radius of an Epanechnikov network, the width 1/√β of random features, and
      the largest difference of patterns that are told by their distance. With 0 only exact repetition stops early,
      so the result is that of all `steps` updates.

    A state that returns after two updates is on a 2-cycle, which synchronous binary networks have: the recall ends
    there as `Result.cycle`. A fixed point is called converged only if it attracts, by the Jacobian of the update, and
    `Result.saddle` otherwise.

    Derivatives are those of the fixed point, by the implicit function theorem, at the same memory however many updates
    were made: none with respect to the cue, in whose basin of attraction nothing changes.
    """

    steps: int
    tol: float
    serves = (Denoiser, Network)

    def __init__(self, steps: int = 150, tol: float = 1e-6) -> None:
        self.steps = at_least("steps", steps, 1)
        self.tol = _tolerance(tol)

    def run(
        self,
        memory: Denoiser | Network,
        process: Process,
        z: State,
        sigma: Scalar,
        key: Key[Array, ""],
        trajectory: bool,
    ) -> Outcome:
        network = memory if isinstance(memory, Network) else Held(memory, sigma)
        constant, cue = without_derivatives((network, z))
        length = constant._length(cue)

        def most(x: State) -> Scalar:
            relative = jnp.minimum(self.tol, 8 * jnp.finfo(x.dtype).eps) if constant._without_origin else self.tol
            return jnp.maximum(self.tol * length, relative * jnp.abs(x).max())

        repeated = _iterate(lambda x, step: constant._update(x), cue, most, self.steps, True, trajectory)
        x, period, steps, states = repeated
        index, p = constant._nearest(x)
        end = ending(period == 1, lambda: lambda v: constant._pushed(v, x), x, constant._slope_bound(x, p))
        result = ENDINGS.where(period == 2, ENDINGS.cycle, end)
        sigmas = jnp.full(self.steps + 1, sigma) if trajectory else None
        return Outcome(with_derivative(network, x), sigma, result, steps, steps, states, sigmas, index, p)


class Asynchronous(Dynamics):
    """One unit after another, in a random order drawn anew for every sweep; for binary networks.

    Every flip lowers the energy, so recall ends at a fixed point: a sweep that changes nothing.

    **Arguments**: `sweeps`, the most visits made to each unit.
    """

    sweeps: int
    serves = (BinaryNetwork,)
    random = True

    def __init__(self, sweeps: int = 100) -> None:
        self.sweeps = at_least("sweeps", sweeps, 1)

    def run(
        self,
        memory: BinaryNetwork,
        process: Process,
        z: State,
        sigma: Scalar,
        key: Key[Array, ""],
        trajectory: bool,
    ) -> Outcome:
        def sweep(x: State, step: Int[Array, ""]) -> State:
            return memory.sweep(x, jax.random.permutation(jax.random.fold_in(key, step), x.size))

        x, period, steps, states = _iterate(sweep, z, lambda x: 0.0, self.sweeps, False, trajectory)
        # A change of one unit raises the energy of a state that a sweep leaves as it is, or leaves it the same.
        result = ENDINGS.where(period == 1, ENDINGS.converged, ENDINGS.exhausted)
        sigmas = jnp.full(self.sweeps + 1, sigma) if trajectory else None
        return Outcome(x, sigma, result, steps, steps, states, sigmas)


def _tolerance(tol: float) -> float:
    if not tol >= 0 or tol == float("inf"):
        raise InputError("tol", f"got {tol!r}", "finite numbers from 0 are accepted")
    return float(tol)


def _iterate(
    update: Callable[[State, Int[Array, ""]], State],
    z: State,
    most: Callable[[State], Scalar | float],
    steps: int,
    cycles: bool,
    trajectory: bool,
) -> tuple[State, Int[Array, ""], Int[Array, ""], Float[Array, "times d"] | None]:
    """Repeat `update(x, step)` until a fixed point, a 2-cycle (if `cycles` may occur) or `steps`.

    A fixed point is a state x that no unit was moved to by more than `most(x)`.

    Returns the last state, its period (1 for a fixed point, 2 on a 2-cycle, 0 otherwise), the number of updates and the
    states passed through.
    """

    class Carry(eqx.Module):
        before: State
        x: State
        period: Int[Array, ""]
        step: Int[Array, ""]
        states: Float[Array, "times d"] | None

    def unfinished(carry: Carry) -> Array:
        return (carry.period == 0) & (carry.step < steps)

    def advance(carry: Carry) -> Carry:
        new = update(carry.x, carry.step)
        fixed = jnp.abs(new - carry.x).max() <= most(new)
        cycle = jnp.all(new == carry.before) & (carry.step > 0) & cycles
        period = jnp.where(fixed, 1, jnp.where(cycle, 2, 0)).astype(int)
        states = None if carry.states is None else carry.states.at[carry.step + 1].set(new)
        return Carry(carry.x, new, period, carry.step + 1, states)

    zero = jnp.zeros((), dtype=int)
    states = jnp.broadcast_to(z, (steps + 1, z.size)) if trajectory else None
    end = jax.lax.while_loop(unfinished, advance, Carry(z, z, zero, zero, states))
    if end.states is not None:
        later = jnp.arange(steps + 1)[:, None] > end.step
        states = jnp.where(later, end.x, end.states)
    return end.x, end.period, end.step, states


@runtime_checkable
class Updating(Protocol):
    """A module with an update of one state, as networks have it."""

    def _update(self, x: State) -> State:
        """The next state of one state."""

    def _pushed(self, v: State, x: State) -> State:
        """The product of the Jacobian of the update with v."""


@eqx.filter_custom_jvp
def with_derivative(network: Updating, x: State) -> State:
    """A fixed point x of a network as a function of the network, by the implicit function theorem.

        x = f(x; θ)    dx = (I − ∂f/∂x)⁻¹ ∂f/∂θ dθ

    The system is solved by GMRES, in which only products with ∂f/∂x appear.
    """
    return x


@with_derivative.def_jvp
def _(primals: tuple[Updating, State], tangents: tuple[Any, Any]) -> tuple[State, State]:
    network, x = primals
    change = eqx.filter_jvp(lambda network: network._update(x), (network,), (tangents[0],))[1]
    constant = without_derivatives(network)
    return x, jax.lax.custom_linear_solve(lambda v: v - constant._pushed(v, x), change, _solved, _solved)


@full_precision
def _solved(product: Callable[[State], State], right: State) -> State:
    """The v of which a matrix makes `right`, by products with it alone; as near as these come to it.

    A solver of its own has no say in what becomes of derivatives in reverse mode, where it would raise what it met.
    """
    import lineax as lx  # slow to import

    accuracy = 10 * float(jnp.finfo(right.dtype).eps)
    solver = lx.GMRES(rtol=accuracy, atol=accuracy, restart=min(20, right.size))
    # Accuracies are those of vectors of length 1, whatever the units of the states.
    size = jnp.max(jnp.abs(right))
    size = jnp.where(size > 0, size, 1)
    system = lx.FunctionLinearOperator(product, jax.eval_shape(lambda: right))
    return lx.linear_solve(system, right / size, solver, throw=False).value * size
