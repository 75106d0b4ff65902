r"""Any conservative noise (Sec. 3.2): the process that a potential v(x) and an amplitude σ(t) define.

Time t counts how long noise has been injected (the paper's T − t). Eq. 15 and 16 are then

    forward   dx = ∇v(x) dt + σ(t) dW
    reverse   dx = [∇v(x) − σ(t)² ∇ log p_t(x)] dt + σ(t) dW̄,  t running down to 0.

Noise *climbs* v: for states to stay finite v must fall outwards. The Ornstein–Uhlenbeck process of rate γ has
v = −γ‖x‖²/4, a double well with its wells at ±1 has v = −(x² − 1)²/4.

**The energy.** With ψ(x, t; y) the log-density of reaching x from y in time t, the reverse dynamics is led by

    u(x, t) = −σ(t)² log Σ_j w_j e^{ψ(x, t; y_j)} + v(x)                              (Eq. 18)

**Why this is no `Process`.** A `Process` is x = s(t)(y + σ(t)ε): memories are evaluated in z = x/s, at one noise
level. Here noise bends: kernels are not Gaussian, differ from pattern to pattern, and no σ makes the dispersed
memory a `PatternMemory`. So there is no scale, no time at which the noise is σ, and `recall` does not take it.

**The kernel.** Around each pattern Eq. 19 linearises the drift (H is the Hessian of v; printed: of u),

    dx = [∇v(y) + H(y)(x − y)] dt + σ(t) dW,

whose kernel is Gaussian: mean y + ∫₀ᵗ e^{Hs} ∇v ds, covariance ∫₀ᵗ e^{2H(t−s)} σ(s)² ds. It holds at short
times in any dimension, at all times for quadratic v. `FokkerPlanck` has the true one, in one and two dimensions.
"""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np

from dispersed.display import value
from dispersed.keys import state_keys
from dispersed.precision import full_precision
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float, Key, Patterns, Scalar, State
from dispersed.validation import (
    InputError,
    at_least,
    check_finite,
    log_prior,
    one_number,
    pattern_array,
    positive,
    random_key,
    real_array,
)

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(32)
_DECAYS = 40.0
"""An exponential counts until it is e^−40 of what it was at most."""


class PotentialProcess(eqx.Module):
    """Noise injection dx = ∇v(x) dt + σ(t) dW from a potential v and an amplitude σ (Eq. 15).

    **Arguments**

    - `potential`: v, a differentiable function of one state (d,) to a number. Noise climbs it.
    - `sigma`: σ(t) > 0 of Eq. 15, a number or a function of the time t since the clean pattern. It is the
      amplitude at one moment, not the noise accumulated until then.

    **Raises** `InputError` for a potential that cannot be called and for σ ≤ 0.

    **Source**: Ambrogioni (2023), In search of dispersed memories, Sec. 3.2.
    """

    potential: Callable[[State], Scalar]
    amplitude: Callable[[Scalar], Scalar] | Float[Array, ""]

    def __init__(self, potential: Any, sigma: Any = 1.0) -> None:
        if not callable(potential):
            raise InputError("potential", f"got {type(potential).__name__}", "a function of one state is accepted")
        self.potential = potential
        self.amplitude = sigma if callable(sigma) else one_number("sigma", positive("sigma", sigma))

    def __repr__(self) -> str:
        return f"PotentialProcess(potential={value(self.potential)}, sigma={value(self.amplitude)})"

    def sigma(self, t: Scalar) -> Scalar:
        """σ(t), the noise amplitude at time t."""
        return self.amplitude(t) if callable(self.amplitude) else self.amplitude.astype(t.dtype)

    def drift(self, x: State) -> State:
        """∇v(x), where noise drives one state."""
        return jax.grad(self.potential)(x)

    def reverse_drift(self, x: State, t: Scalar, score: State) -> State:
        """The drift of the reverse SDE as t runs down, ∇v(x) − σ(t)² ∇ log p_t(x) (Eq. 16); `score` is ∇ log p_t(x)."""
        return self.drift(x) - self.sigma(t) ** 2 * score

    def corrupt(self, patterns: ArrayLike, *, t: float, key: Key[Array, ""], steps: int = 500) -> Float[Array, "... d"]:
        """Patterns (..., d) after noise was injected for a time t > 0: one path each, by diffrax.

        Heun's method in `steps` even steps, of weak order 2 for this additive noise. The noise of the i-th
        pattern depends on `key` and i alone.

        Raises `InputError` for a bad `t`, and where paths leave all bounds: v must fall outwards, and stiff
        potentials need more steps.
        """
        random_key(key)
        y = real_array("patterns", patterns)
        check_finite("patterns", y)
        if y.ndim == 0:
            raise InputError("patterns", "got a single number", "states of shape (..., d) are accepted")
        end = one_number("t", positive("t", t)).astype(y.dtype)
        steps = at_least("steps", steps, 1)
        self._check(y.reshape(-1, y.shape[-1])[0], end)
        keys = state_keys(key, y.size // y.shape[-1])
        x = self._simulate(y.reshape(-1, y.shape[-1]), end, keys, steps).reshape(y.shape)
        check = jnp.isfinite(x)
        if not bool(check.all()):
            lost = f"{int((~check.all(axis=-1)).sum())} paths left all bounds"
            raise InputError("potential", lost, "v must fall outwards (noise climbs it), or take more steps")
        return x

    @eqx.filter_jit
    def _simulate(self, y: Patterns, end: Scalar, keys: Key[Array, " n"], steps: int) -> Patterns:
        def path(start: State, key: Key[Array, ""]) -> State:
            # Steps, not times, are the variable: diffrax draws noise by it, and whole numbers do not round.
            def drift(count: Any, x: State, h: Scalar) -> State:
                return h * self.drift(x)

            def noise(count: Any, x: State, h: Scalar) -> lx.AbstractLinearOperator:
                amplitude = jnp.sqrt(h) * self.sigma(jnp.asarray(count * h, x.dtype))
                return lx.DiagonalLinearOperator(jnp.full_like(x, amplitude))

            wiener = dfx.UnsafeBrownianPath(jax.ShapeDtypeStruct(start.shape, start.dtype), key)
            terms: dfx.AbstractTerm[Any, Any] = dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(noise, wiener))
            solution = dfx.diffeqsolve(
                terms,
                dfx.Heun(),
                t0=0.0,
                t1=float(steps),
                dt0=None,
                y0=start,
                args=end / steps,
                stepsize_controller=dfx.StepTo(jnp.arange(steps + 1, dtype=start.dtype)),
                max_steps=steps,
                adjoint=dfx.ForwardMode(),
                throw=False,
            )
            return solution.ys[-1]

        return jax.vmap(path)(y, keys)

    @full_precision
    def linearised(self, y: State, t: Scalar) -> tuple[State, Float[Array, "d d"]]:
        """Mean (d,) and covariance (d, d) of the linearised kernel from one pattern y after a time t > 0 (Eq. 19).

        In the eigenbasis of H both are integrals of exponentials; that over σ(s)² is taken by 32-point
        Gauss–Legendre quadrature over the times whose noise is neither forgotten nor nothing beside what has grown:
        exact for constant σ.
        """
        values, vectors = jnp.linalg.eigh(jax.hessian(self.potential)(y))
        shift = t * _phi(values * t) * (vectors.T @ self.drift(y))
        rates = 2 * values[:, None]
        length = _DECAYS * t / jnp.maximum(_DECAYS, jnp.abs(rates) * t)
        # Noise that decays counts from the end, noise that grows from the beginning.
        near = length * (jnp.asarray(_NODES, y.dtype) + 1) / 2
        far = t - near
        growth = jnp.exp(rates * jnp.where(rates < 0, near, far))
        amplitude = jax.vmap(jax.vmap(self.sigma))(jnp.where(rates < 0, far, near))
        variance = length[:, 0] / 2 * ((growth * amplitude**2) @ jnp.asarray(_NODE_WEIGHTS, y.dtype))
        return y + vectors @ shift, (vectors * variance) @ vectors.T

    def log_kernel(self, x: State, t: Scalar, y: State) -> Scalar:
        """ψ(x, t; y), the log-density at x of the linearised kernel from y (Eq. 19), in nats."""
        mean, covariance = self.linearised(y, t)
        return jnp.asarray(jax.scipy.stats.multivariate_normal.logpdf(x, mean, covariance))

    def limit_log_kernel(self, x: State, t: Scalar, y: State) -> Scalar:
        """What ψ(x, t; y) becomes as t → 0, −‖x − y‖²/(2σ(0)²t) up to a constant (Eq. 20)."""
        return -jnp.sum((x - y) ** 2) / (2 * self.sigma(jnp.zeros_like(t)) ** 2 * t)

    def energy(
        self, x: ArrayLike, t: ArrayLike, patterns: ArrayLike, weights: ArrayLike | None = None
    ) -> Float[Array, "..."]:
        """The energy u(x, t) over `patterns` (n, d), by the linearised kernel (Eq. 18); `x`: (..., d), one time t > 0.

        Its negative gradient is the drift of the generative dynamics (Eq. 16).
        """
        return self._checked_energy(x, t, patterns, weights, limit=False)

    def limit_energy(
        self, x: ArrayLike, t: ArrayLike, patterns: ArrayLike, weights: ArrayLike | None = None
    ) -> Float[Array, "..."]:
        """What the energy becomes as t → 0, −σ(0)² log Σ_j w_j exp(−‖x − y_j‖²/(2σ(0)²t)), without v (Eq. 21).

        The limit holds with weights w_j e^{−v(y_j)/σ(0)²}, which the paper leaves out: `weights` may carry them.
        """
        return self._checked_energy(x, t, patterns, weights, limit=True)

    def _checked_energy(self, x: Any, t: Any, patterns: Any, weights: Any, limit: bool) -> Float[Array, "..."]:
        y = pattern_array(patterns)
        states = real_array("x", x)
        if states.ndim == 0 or states.shape[-1] != y.shape[-1]:
            accepted = f"the patterns have {y.shape[-1]} units: shape (..., {y.shape[-1]}) is accepted"
            raise InputError("x", f"got shape {states.shape}", accepted)
        prior = log_prior(weights, None, len(y))
        log_w = jnp.zeros(len(y)) if prior is None else jnp.asarray(prior, float)
        time = one_number("t", positive("t", t)).astype(y.dtype)
        self._check(y[0], time)
        energy = self._energy(states, time, y, jax.nn.log_softmax(log_w).astype(y.dtype), limit)
        if is_known(energy) and not np.isfinite(energy).all():
            raise InputError("t", f"got {float(time):g}, where the linearised kernel overflows", "give a shorter time")
        return energy

    @eqx.filter_jit
    def _energy(
        self, x: Float[Array, "... d"], t: Scalar, y: Patterns, log_w: Float[Array, " n"], limit: bool
    ) -> Array:
        means, covariances = (None, None) if limit else jax.vmap(lambda pattern: self.linearised(pattern, t))(y)

        def one(state: State) -> Scalar:
            if limit:
                kernels = jax.vmap(lambda pattern: self.limit_log_kernel(state, t, pattern))(y)
                return energy_from_kernels(kernels + log_w, self.sigma(jnp.zeros_like(t)), jnp.zeros_like(t))
            density = jax.scipy.stats.multivariate_normal.logpdf
            kernels = jnp.asarray(jax.vmap(lambda m, c: density(state, m, c))(means, covariances))
            return energy_from_kernels(kernels + log_w, self.sigma(t), self.potential(state))

        return jax.vmap(one)(x.reshape(-1, x.shape[-1])).reshape(x.shape[:-1])

    def _check(self, y: State, t: Scalar) -> None:
        """The potential must give one real number for a state, σ one positive number for a time."""
        try:
            shape = jax.eval_shape(self.potential, y)
        except (TypeError, IndexError, ValueError) as error:
            raise InputError("potential", f"fails on a state of shape {y.shape} ({error})", "see its docs") from None
        if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
            raise InputError("potential", f"gives {shape} for one state", "a function to one real number is accepted")
        check_finite("potential", jnp.asarray(self.potential(y)))
        positive("sigma", jnp.asarray(self.sigma(t)))


def energy_from_kernels(log_kernels: Float[Array, " n"], sigma: Scalar, potential: Scalar) -> Scalar:
    """The energy from log w_j + ψ(x, t; y_j), σ(t) and v(x) (Eq. 18)."""
    return potential - sigma**2 * jax.nn.logsumexp(log_kernels)


def _phi(a: Array) -> Array:
    """(e^a − 1)/a, 1 at 0."""
    small = jnp.abs(a) < 1e-3
    safe = jnp.where(small, 1, a)
    return jnp.where(small, 1 + a / 2 * (1 + a / 3 * (1 + a / 4)), jnp.expm1(safe) / safe)
