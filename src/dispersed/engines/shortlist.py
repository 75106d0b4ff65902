r"""The shortlist of a state, and the proof that all other patterns do not matter, there and further along its recall.

Let a screen at (x₀, σ₀) have excluded patterns that all lie at least r away from x₀ and together weigh at most

    Σ_out w_j exp(−‖x₀ − y_j‖²/(2σ₀²)) ≤ e^A.

At any (x, σ) with σ ≤ σ₀, a distance δ = ‖x − x₀‖ away, ‖x − y_j‖ ≥ ‖x₀ − y_j‖ − δ, and for every s in (0, 1)
(‖x₀ − y_j‖ − δ)² ≥ s‖x₀ − y_j‖² − s/(1−s) δ². For s/σ² ≥ 1/σ₀² the e^A can be taken out of the sum, which leaves

    log Σ_out w_j exp(−‖x − y_j‖²/(2σ²)) ≤ A − (s/σ² − 1/σ₀²) r²/2 + s δ²/(2σ²(1−s)).

The best s is 1 − δ/r: all that was excluded then counts as if it lay on the sphere of radius r,

    A − ((r − δ)²/σ² − r²/σ₀²)/2          where 1 − δ/r ≥ σ²/σ₀²,
    A + δ²/(2(σ₀² − σ²))                   otherwise (s = σ²/σ₀²).

Along the flow to a pattern c, x = c + (σ/σ₀)(x₀ − c), the weight of what was excluded beside that of c can only fall as
long as r ≥ ‖x₀ − c‖. So one screen serves a whole recall, as a rule.

With ε the ratio of what was excluded to the shortlist, D the mean of the shortlist, c and R the centre of all patterns
and the greatest distance from it,

    ‖D − D_σ(x)‖ ≤ ε/(1+ε) · (R + ‖D − c‖) + round-off.

**Round-off.** With the leading pattern l, Δ_j = ‖y_j − l‖ and a = ‖x − l‖, a logit relative to it,
(2(y_j − l)·(x − l) − ‖y_j − l‖²)/(2σ²) + log w_j − log w_l, is off by at most

    e_j = γ_{d+8} ((2Δ_j a + Δ_j²)/(2σ²) + |log w_j| + |log w_l|) + 4η(a + Δ_j + η)/σ² + γ_40 + γ_4 |ℓ_j|,

η for what is flushed of a pattern and the last two for the exponential. A weight e^{ℓ_j} is then off by at most
h_j = e^{ℓ_j + e_j}(1 − e^{−2e_j}), and the mean by at most Σ_j h_j (Δ_j + ‖D − l‖)/(Σ_j e^{ℓ_j} − Σ_j h_j).

**A certified basin of attraction.** For a pattern c put u = (z − c)/σ along the flow dz/dσ = (z − D_σ(z))/σ, with
λ = −log σ: du/dλ = (D − c)/σ, at most Σ_j p_j D_j/σ with D_j = ‖y_j − c‖. Let g_j be by how much the logit of c
exceeds that of y_j at (z₀, σ₀), γ_j that difference without the prior weights, Δ_j = D_j/σ₀ and x = σ₀/σ. As long as u
has moved by at most η,

    g_j(σ) ≥ g_j − γ_j + γ_j x + Δ_j²(x² − x)/2 − Δ_j η x,

so the whole way of u from σ₀ to 0 is at most Σ_j Δ_j e^{−g_j + Δ_jη}/(γ_j − Δ_jη). If that is less than η, u never
moves by η, and z → c: from here on the recall is decided, for the exact flow over all patterns.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.candidate_screening import FAR
from dispersed.engines.roundoff import gamma
from dispersed.precision import full_precision
from dispersed.types import Array, Bool, Float, Int, Numbers, Scalar, State

DRIFT = 0.5
"""Δη above, for the pattern that is furthest away."""


class Shortlist(eqx.Module):
    """The patterns of one state that can matter, and bounds on all others, in internal units.

    All numbers are in double precision but the patterns, which are in the precision they are stored in.
    """

    index: Int[Numbers, "*b k"]
    """The indices of the patterns among those of all hosts."""
    y: Float[Numbers, "*b k d"]
    """The patterns."""
    log_weights: Float[Numbers, "*b k"]
    """Their log weights; −∞ for padding."""
    x: Float[Numbers, "*b d"]
    """The state x₀ at which the others were excluded."""
    sigma: Float[Numbers, "*b"]
    """The noise level σ₀ at which the others were excluded."""
    log_tail_mass: Float[Numbers, "*b"]
    """The upper bound A on the log tail mass."""
    excluded_distance: Float[Numbers, "*b"]
    """The lower bound r on the distance from x₀ to the nearest excluded pattern."""


class EnclosingBall(eqx.Module):
    """A ball that contains all patterns."""

    centre: Float[Numbers, "*b d"]
    """Its centre."""
    radius: Float[Numbers, "*b"]
    """An upper bound on its radius."""
    flush: Float[Numbers, "*b"]
    """An upper bound on what is lost of a pattern where subnormal numbers are flushed to zero."""


class ShortlistPosterior(eqx.Module):
    """The posterior of one state over its shortlist, with bounds on what the excluded patterns would change."""

    lead: Int[Numbers, "*b"]
    """The place of the likeliest pattern in the shortlist."""
    logits: Float[Numbers, "*b k"]
    """The logits, relative to the likeliest pattern."""
    errors: Float[Numbers, "*b k"]
    """Upper bounds on the round-off of the logits."""
    distances: Float[Numbers, "*b k"]
    """The distances of the patterns from the likeliest one."""
    mean: Float[Numbers, "*b d"]
    """The posterior mean over the shortlist."""
    log_lead: Float[Numbers, "*b"]
    """Log w_j − ‖x − y_j‖²/(2σ²) of the likeliest pattern."""
    log_mass: Float[Numbers, "*b"]
    """Log Σ w_j exp(−‖x − y_j‖²/(2σ²)) over the shortlist."""
    log_tail_mass: Float[Numbers, "*b"]
    """An upper bound on the same over all excluded patterns."""
    bound: Float[Numbers, "*b"]
    """An upper bound on ‖mean − D_σ(x)‖."""


def log_tail_mass_at(shortlist: Shortlist, x: State, sigma: Scalar) -> Scalar:
    """An upper bound on the log tail mass at a state x and σ ≤ σ₀."""
    return transported_tail(
        shortlist.log_tail_mass,
        shortlist.excluded_distance,
        jnp.linalg.norm(x - shortlist.x),
        shortlist.sigma,
        sigma,
        x.size,
    )


def transported_tail(
    log_tail_mass: Numbers,
    excluded_distance: Numbers,
    delta: Numbers,
    before: Numbers,
    sigma: Numbers,
    d: int,
    numpy: Any = jnp,
) -> Numbers:
    """An upper bound on the log tail mass, e^A at σ₀ = `before`, after a move of a state of d units by δ to σ ≤ σ₀."""
    slack = gamma(d + 8, float)
    delta, reach = delta * (1 + slack), excluded_distance * (1 - slack)
    near = reach - delta
    ratio = (sigma / before) ** 2
    moved, stood = (near / sigma) ** 2, (reach / before) ** 2
    sphere = log_tail_mass - (moved * (1 - slack) - stood * (1 + slack)) / 2
    # At σ = σ₀ and δ = 0 what was known is still known; a state that moved at the same σ knows nothing.
    apart = numpy.maximum(before**2 - sigma**2, 1e-300)
    harnack = log_tail_mass + delta**2 / (2 * apart) * (1 + slack)
    stays = (delta == 0) & (sigma == before)
    tail = numpy.where(stays, log_tail_mass, numpy.where(near >= ratio * reach, sphere, harnack))
    return numpy.where(log_tail_mass == -np.inf, -np.inf, tail)


@full_precision
def shortlist_posterior(shortlist: Shortlist, x: State, sigma: Scalar, ball: EnclosingBall) -> ShortlistPosterior:
    """The posterior at a state x, by differences from the leading pattern, in double precision."""
    d, dtype = x.size, x.dtype
    y, log_w = shortlist.y.astype(dtype), shortlist.log_weights
    half = 0.5 / sigma**2

    @full_precision
    def relative(lead: Array) -> tuple[Array, Array, Array]:
        """Differences, squared distances and logits relative to a pattern."""
        step = y - y[lead]
        squares = jnp.sum(step * step, axis=1)
        return step, squares, (2 * step @ (x - y[lead]) - squares) * half + log_w - log_w[lead]

    # Any pattern will do to find the likeliest one, and the nearer it is the better.
    rough = jnp.argmax(log_w - jnp.sum((x - y) ** 2, axis=1) * half)
    lead = jnp.argmax(relative(rough)[2])
    step, squares, logits = relative(lead)
    away, far = jnp.linalg.norm(x - y[lead]), jnp.sqrt(squares)
    present = log_w > -jnp.inf
    errors = gamma(d + 8, dtype) * (2 * far * away + squares) * half + gamma(40, dtype)
    errors += 8 * half * ball.flush * (away + far + ball.flush) + gamma(4, dtype) * jnp.abs(
        jnp.where(present, logits, 0)
    )
    errors += gamma(d + 8, dtype) * (jnp.abs(jnp.where(present, log_w, 0)) + jnp.abs(log_w[lead]))
    # The largest logit is 0, or hardly more: no exponential overflows.
    top = jnp.max(logits)
    weights = jnp.exp(logits - top)
    mass = jnp.sum(weights)
    moved = weights @ step / mass
    mean = y[lead] + moved
    log_lead = log_w[lead] - away**2 * half
    log_mass = jnp.log(mass) + top + log_lead
    tail = log_tail_mass_at(shortlist, x, sigma)
    # Both masses have the round-off of the lead in common; it is that of ‖x − l‖².
    slack = gamma(d + 8, dtype) * 2 * (away**2 * half + jnp.abs(log_w[lead])) + errors[lead]
    missing = jax.nn.sigmoid(tail - log_mass + slack)
    wrong = jnp.where(present, jnp.exp(logits - top + errors) * -jnp.expm1(-2 * errors), 0)
    certain = mass - jnp.sum(wrong)
    length = jnp.linalg.norm(moved)
    rounding = jnp.sum(wrong * (far + length)) / jnp.where(certain > 0, certain, 1)
    summing = gamma(y.shape[0] + 8, dtype) * (weights @ far / mass + length)
    # The differences from the lead are rounded, and so is it plus their mean.
    shift = gamma(8, dtype) * (jnp.linalg.norm(y[lead]) + jnp.linalg.norm(mean)) + ball.flush
    error = missing * (ball.radius + jnp.linalg.norm(mean - ball.centre)) + rounding + summing + shift
    bound = jnp.where((certain > 0) & (error < jnp.inf), error, jnp.inf)
    return ShortlistPosterior(lead, logits, errors, far, mean, log_lead, log_mass, tail, bound)


def in_certified_basin(
    shortlist: Shortlist, posterior: ShortlistPosterior, x: State, sigma: Scalar, ball: EnclosingBall
) -> Bool[Array, ""]:
    """Whether the exact flow from x at σ provably ends at the leading pattern."""
    d, dtype = x.size, x.dtype
    c = shortlist.y[posterior.lead].astype(dtype)
    slack = 1 + 4 * gamma(d + 8, dtype)
    away = jnp.linalg.norm(x - c)
    # What was excluded may be as far from c as any pattern is.
    furthest = slack * (ball.radius + jnp.linalg.norm(c - ball.centre) + ball.flush) / sigma
    distances = slack * posterior.distances / sigma
    drift = DRIFT / jnp.where(furthest > 0, furthest, 1)
    log_w = shortlist.log_weights
    gaps = log_w - log_w[posterior.lead] - posterior.logits - posterior.errors

    def way(log_weight: Array, distance: Array, gap: Array) -> Array:
        """Δ e^{−g + Δη}/(γ − Δη), infinite where γ is too small."""
        move = distance * drift
        margin = gap - move
        length = distance * jnp.exp(log_weight + move) / jnp.where(margin > 0, margin, 1)
        return jnp.where(margin > 0, length, jnp.inf)

    present = (distances > 0) & (log_w > -jnp.inf)
    inside = jnp.where(present, way(posterior.logits + posterior.errors, distances, gaps), 0).sum()
    near = jnp.maximum(shortlist.excluded_distance / slack - slack * jnp.linalg.norm(x - shortlist.x), 0)
    gap = (near**2 / slack - away**2 * slack) / (2 * sigma**2)
    tail = (
        posterior.log_tail_mass
        - posterior.log_lead
        + (slack - 1) * (away**2 / (2 * sigma**2) + jnp.abs(log_w[posterior.lead]))
    )
    outside = jnp.where(posterior.log_tail_mass > -jnp.inf, way(tail, furthest, gap), 0)
    return (inside + outside) * slack * (1 + gamma(log_w.size + 8, dtype)) < jnp.where(furthest > 0, drift, jnp.inf)


def shortened(
    shortlists: Shortlist, x: np.ndarray, sigma: np.ndarray, posterior: ShortlistPosterior, size: int, flush: Any
) -> Shortlist:
    """The shortlists of the `size` likeliest patterns at states x (b, d) and noise levels sigma (b,), by NumPy.

    The others join what is excluded, and x and σ are the new x₀ and σ₀.
    """
    from scipy.special import logsumexp  # slow to import

    b, d = x.shape
    slack = gamma(d + 8, float)
    place = np.argsort(-posterior.logits, axis=1, kind="stable")[:, :size]
    gone = shortlists.log_weights > -np.inf
    np.put_along_axis(gone, place, False, 1)
    terms = np.where(gone, posterior.logits + posterior.errors, -np.inf)
    weight = logsumexp(terms, axis=1) + posterior.log_lead
    distance = np.linalg.norm(shortlists.y.astype(float) - x[:, None], axis=2)
    nearest = np.where(gone, distance, FAR).min(axis=1) * (1 - slack) - flush
    moved = np.linalg.norm(x - shortlists.x, axis=1)
    before = shortlists.excluded_distance * (1 - slack) - moved * (1 + slack)
    lead = shortlists.log_weights[np.arange(b), posterior.lead]
    rounding = 4 * slack * (np.abs(posterior.log_lead) + np.abs(lead)) + gamma(gone.shape[1] + 40, float)
    index, log_w = (np.take_along_axis(a, place, 1) for a in (shortlists.index, shortlists.log_weights))
    return Shortlist(
        index,
        np.take_along_axis(shortlists.y, place[:, :, None], 1),
        log_w,
        x,
        sigma,
        np.logaddexp(posterior.log_tail_mass, weight) + rounding,
        np.maximum(np.minimum(before, nearest), 0),
    )


def required_size(posterior: ShortlistPosterior, tail: float) -> np.ndarray:
    """How many patterns of each state must stay so that the others weigh less than `tail` beside the leading one."""
    weights = np.sort(np.exp(np.minimum(posterior.logits, 0)), axis=1)
    return np.sum(np.cumsum(weights, axis=1) > tail, axis=1)
