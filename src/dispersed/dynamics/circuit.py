r"""The two-layer circuit: a modern Hopfield network, or a diffusion model, made of neurons with time constants.

Visible neurons v hold the state, one hidden neuron h_j belongs to each pattern, and the synapses between the two
layers hold the patterns (Krotov & Hopfield 2021):

    τ_v dv/dt = Σ_j softmax_j(β h + b) y_j − v          τ_h dh_j/dt = y_jᵀv − θ_j − h_j

At a fixed point v = Σ_j softmax_j(β y_jᵀv) y_j, with θ = b = 0: that of the modern Hopfield network (Eq. 5),
whatever the time constants. With thresholds θ_j = ½‖y_j‖² and b_j = log w_j the drive to v is the exact denoiser
D_σ(v) at σ² = 1/β, once the hidden layer has settled. If then β rises as

    β(t) = β₀ e^{2rt/τ_v},    that is σ(t) = σ₀ e^{−rt/τ_v},

the visible layer obeys dv/dλ = (D_σ(v) − v)/r in λ = −log σ: the probability flow of diffusion at r = 1. A slower
ramp, r < 1, settles more at every level, up to the Hopfield network annealed adiabatically at r → 0. What the
circuit needs is a hidden layer that is fast compared to the ramp, τ_h ≪ τ_v/r.
"""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp

from dispersed.dynamics.dynamics import Dynamics
from dispersed.dynamics.result import Outcome
from dispersed.dynamics.stability import ending
from dispersed.memories import ModernHopfield, PatternMemory
from dispersed.memories.associative_memory import without_derivatives
from dispersed.precision import full_precision
from dispersed.processes import Process
from dispersed.types import Array, ArrayLike, Float, Key, Scalar, State
from dispersed.validation import at_least, positive, positive_number


class Circuit(Dynamics):
    """Recall by the two-layer circuit of visible and hidden neurons (Krotov & Hopfield 2021).

    A `ModernHopfield` network is recalled at its own β until `duration`; a `PatternMemory` while β(t) rises from
    1/σ² of the cue to that of `sigma_min`, which at `ramp` 1 and a fast hidden layer is diffusion recall.

    **Arguments**

    - `hidden`: τ_h/τ_v, the hidden neurons' time constant in units of the visible ones'.
    - `ramp`: r, how fast log σ falls, in units of 1/τ_v.
    - `sigma_min`: where the ramp ends, or half the noise of the cue if that is less; by default as of every `Solver`.
    - `duration`: for a network without noise level, how long it runs, in units of τ_v.
    - `points`: states stored of a trajectory.

    A state counts as a fixed point if one more update would move it by less than 3σ a unit, σ the last noise level
    (at which it still carries noise of that size), or for a network by less than a hundredth of the largest difference
    between a pattern and their mean.

    **Source**: Krotov & Hopfield (2021), Large associative memory problem in neurobiology and machine learning,
    with the softmax of their model B.
    """

    hidden: Scalar
    ramp: Scalar
    sigma_min: float | None
    duration: float
    points: int
    serves = (PatternMemory, ModernHopfield)

    def __init__(
        self,
        hidden: ArrayLike = 0.1,
        ramp: ArrayLike = 1.0,
        sigma_min: float | None = None,
        duration: float = 30.0,
        points: int = 100,
    ) -> None:
        self.hidden = positive("hidden", hidden)
        self.ramp = positive("ramp", ramp)
        self.sigma_min = None if sigma_min is None else positive_number("sigma_min", sigma_min)
        self.duration = positive_number("duration", duration)
        self.points = at_least("points", points, 2)

    def run(
        self,
        memory: PatternMemory | ModernHopfield,
        process: Process,
        z: State,
        sigma: Scalar,
        key: Key[Array, ""],
        trajectory: bool,
    ) -> Outcome:
        # From the middle of the patterns, lest an offset take the digits of products, and in units of them:
        # tolerances are those of numbers near 1.
        middle = memory.patterns[0] + jnp.mean(memory.patterns - memory.patterns[0], axis=0)
        y = memory.patterns - middle
        largest, away = (jnp.max(jnp.abs(jax.lax.stop_gradient(part))) for part in (y, z - middle))
        unit = jnp.where(largest > 0, largest, jnp.where(away > 0, away, 1))
        y = y / unit
        if isinstance(memory, ModernHopfield):
            start = last = memory.beta**-0.5
            end, rate = jnp.asarray(self.duration, z.dtype), jnp.zeros((), z.dtype)
            thresholds = bias = jnp.zeros(len(y), z.dtype)
            # Scores without norms depend on where the origin is.
            offsets = full_precision(jnp.matmul)(y, middle / unit)
        else:
            start, last = sigma, memory._last_level(sigma)
            if self.sigma_min is not None:
                last = jnp.minimum(self.sigma_min, sigma / 2)
            end, rate = (jnp.log(start) - jnp.log(last)) / self.ramp, self.ramp
            thresholds, bias = jnp.sum(y**2, axis=1) / 2, memory.log_weights
            offsets = jnp.zeros_like(thresholds)

        log_start = jnp.log(start / unit)

        @full_precision
        def slope(t: Any, state: Any, args: None) -> tuple[State, Float[Array, " n"]]:
            v, h = state
            beta = jnp.exp(2 * (rate * t - log_start))
            drive = jax.nn.softmax(beta * h + bias) @ y - v
            return drive, (y @ v + offsets - thresholds - h) / self.hidden

        times = jnp.linspace(0, end, self.points)
        solution = dfx.diffeqsolve(
            dfx.ODETerm(slope),
            dfx.Tsit5(),
            t0=0.0,
            t1=end,
            dt0=None,
            y0=((z - middle) / unit, -thresholds),  # the cue arrives at a hidden layer at rest, in their middle
            stepsize_controller=dfx.PIDController(rtol=1e-4, atol=1e-5),
            saveat=dfx.SaveAt(ts=times) if trajectory else dfx.SaveAt(t1=True),
            max_steps=16**4,
            throw=False,
        )
        visible = middle + unit * solution.ys[0]
        x = visible[-1]
        network = without_derivatives(memory.at(last))
        moved = jnp.sqrt(jnp.mean((network._update(x) - x) ** 2))
        near = 0.01 * unit if isinstance(memory, ModernHopfield) else 3 * last
        fixed = (moved < near) & (solution.result == dfx.RESULTS.successful)
        index, p = network._nearest(x)
        result = ending(
            fixed, lambda: lambda v: network._pushed(v, jax.lax.stop_gradient(x)), x, network._slope_bound(x, p)
        )
        steps = solution.stats["num_steps"].astype(int)
        states = sigmas = None
        if trajectory:
            states = jnp.concatenate([visible, x[None]])
            sigmas = jnp.append(start * jnp.exp(-rate * times), 0)
        return Outcome(x, last, result, steps, 6 * steps + 2, states, sigmas, index, p)
