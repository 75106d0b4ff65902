"""Hopfield recall: hold the noise level and iterate the update to a fixed point."""

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics, Outcome
from dispersed.memories import BinaryNetwork, Denoiser, Held, Network
from dispersed.processes import Process
from dispersed.types import Array, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least


class Iteration(Dynamics):
    """x ← update(x), all units at once, until nothing moves.

    Of a `Network` the update is its own; of a memory at noise level σ it is x ← D_σ(x), which for patterns
    of equal norm is the modern Hopfield update at β = 1/σ².

    **Arguments**

    - `steps`: the most updates made.
    - `tol`: a fixed point is a state that no unit leaves by more than `tol`·max(1, max|x_i|). With 0 only
      exact repetition stops early, so the result is that of all `steps` updates.

    A state that returns after two updates is a 2-cycle, which synchronous binary networks have: it is
    reported as `period` 2 and not looped on.
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
        return _iterate(lambda x, step: network._update(x), z, sigma, self.steps, self.tol, True, trajectory)


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

        return _iterate(sweep, z, sigma, self.sweeps, 0.0, False, trajectory)


def _tolerance(tol: float) -> float:
    if not tol >= 0 or tol == float("inf"):
        raise InputError("tol", f"got {tol!r}", "finite numbers from 0 are accepted")
    return float(tol)


def _iterate(
    update, z: State, sigma: Scalar, steps: int, tol: Scalar | float, cycles: bool, trajectory: bool
) -> Outcome:
    """Repeat `update(x, step)` until a fixed point, a 2-cycle (if `cycles` may occur) or `steps`."""

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
        fixed = jnp.abs(new - carry.x).max() <= tol * jnp.maximum(1, jnp.abs(new).max())
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
    sigmas = jnp.full(steps + 1, sigma) if trajectory else None
    return Outcome(end.x, sigma, end.period, end.step, end.step, states, sigmas)
