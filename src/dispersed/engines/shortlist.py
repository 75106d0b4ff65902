r"""The patterns that a state keeps, and the proof that the others do not matter, there and further along its recall.

Let a screen at (x₀, σ₀) have left out patterns that all lie at least r away from x₀ and together weigh at most

    Σ_out w_j exp(−‖x₀ − y_j‖²/(2σ₀²)) ≤ e^A.

At any (x, σ) with σ ≤ σ₀, a distance δ = ‖x − x₀‖ away, ‖x − y_j‖ ≥ ‖x₀ − y_j‖ − δ, and for every s in (0, 1)
(‖x₀ − y_j‖ − δ)² ≥ s‖x₀ − y_j‖² − s/(1−s) δ². For s/σ² ≥ 1/σ₀² the e^A can be taken out of the sum, which leaves

    log Σ_out w_j exp(−‖x − y_j‖²/(2σ²)) ≤ A − (s/σ² − 1/σ₀²) r²/2 + s δ²/(2σ²(1−s)).

The best s is 1 − δ/r: all that was left out then counts as if it lay on the sphere of radius r,

    A − ((r − δ)²/σ² − r²/σ₀²)/2          where 1 − δ/r ≥ σ²/σ₀²,
    A + δ²/(2(σ₀² − σ²))                   otherwise (s = σ²/σ₀²).

Along the flow to a pattern c, x = c + (σ/σ₀)(x₀ − c), the weight of what was left out beside that of c can only fall as
long as r ≥ ‖x₀ − c‖. So one screen serves a whole recall, as a rule.

With ε the ratio of what was left out to what was kept, D the mean of what was kept, μ and R the centre of all
patterns and the greatest distance from it,

    ‖D − D_σ(x)‖ ≤ ε/(1+ε) · (R + ‖D − μ‖) + round-off.

**A basin that is owned.** For a pattern c put u = (z − c)/σ along the flow dz/dσ = (z − D_σ(z))/σ, with λ = −log σ:
du/dλ = (D − c)/σ, at most Σ_j p_j D_j/σ with D_j = ‖y_j − c‖. Let g_j be by how much the logit of c exceeds that of y_j
at (z₀, σ₀), γ_j that difference without the prior weights, Δ_j = D_j/σ₀ and x = σ₀/σ. As long as u has moved by at
most η,

    g_j(σ) ≥ g_j − γ_j + γ_j x + Δ_j²(x² − x)/2 − Δ_j η x,

so the whole way of u from σ₀ to 0 is at most Σ_j Δ_j e^{−g_j + Δ_jη}/(γ_j − Δ_jη). If that is less than η, u never
moves by η, and z → c: from here on the recall is decided, for the exact flow over all patterns.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.engines.roundoff import gamma
from dispersed.types import Array, Bool, Float, Int, Numbers, Scalar, State

DRIFT = 0.5
"""Of Δη above, for the pattern furthest away."""


class Shortlist(eqx.Module):
    """What one state keeps. All numbers are in double precision but the patterns, which are as they are stored."""

    index: Int[Numbers, "*b k"]
    y: Float[Numbers, "*b k d"]
    log_weights: Float[Numbers, "*b k"]
    """−inf for padding."""
    x: Float[Numbers, "*b d"]
    """Where it was screened,"""
    sigma: Float[Numbers, "*b"]
    """and at which noise."""
    log_tail_mass: Float[Numbers, "*b"]
    """A."""
    excluded_distance: Float[Numbers, "*b"]
    """r."""


class EnclosingBall(eqx.Module):
    """What is known of all patterns."""

    centre: Float[Numbers, "*b d"]
    radius: Float[Numbers, "*b"]
    norm: Float[Numbers, "*b"]


class ShortlistPosterior(eqx.Module):
    """The posterior of one state over what it keeps, with what it may miss."""

    lead: Int[Numbers, "*b"]
    """The place of the likeliest of them."""
    logits: Float[Numbers, "*b k"]
    """Relative to it."""
    apart: Float[Numbers, "*b k"]
    """Distances from it."""
    mean: Float[Numbers, "*b d"]
    log_mass: Float[Numbers, "*b"]
    """log Σ w_j exp(−‖x − y_j‖²/(2σ²)) over what is kept."""
    log_tail_mass: Float[Numbers, "*b"]
    """At least the same over what is not."""
    bound: Float[Numbers, "*b"]
    """At least ‖mean − D_σ(x)‖."""


def log_tail_mass_at(kept: Shortlist, x: State, sigma: Scalar) -> Scalar:
    """At least the logarithm of what was left out, at a state x and σ ≤ σ₀."""
    return transported_tail(kept.log_tail_mass, kept.excluded_distance, jnp.linalg.norm(x - kept.x), kept.sigma, sigma)


def transported_tail(
    log_tail_mass: Numbers,
    excluded_distance: Numbers,
    delta: Numbers,
    before: Numbers,
    sigma: Numbers,
    numpy: Any = jnp,
) -> Numbers:
    """At least the logarithm of what weighed e^`log_rest` at σ₀, `before`, after a move by δ to σ ≤ σ₀."""
    # Round-off of δ and r is far below these.
    delta, excluded_distance = delta * (1 + 1e-12), excluded_distance * (1 - 1e-12)
    ratio = (sigma / before) ** 2
    near = excluded_distance - delta
    sphere = log_tail_mass - ((near / sigma) ** 2 - (excluded_distance / before) ** 2) / 2
    # At σ = σ₀ and δ = 0 the sphere serves; a state that moved at the same σ knows nothing.
    harnack = log_tail_mass + delta**2 / (2 * numpy.maximum(before**2 - sigma**2, 1e-300))
    return numpy.where(near >= ratio * excluded_distance, sphere, harnack)


def shortlist_posterior(kept: Shortlist, x: State, sigma: Scalar, ball: EnclosingBall) -> ShortlistPosterior:
    """The posterior at a state x, by differences from the leading pattern, in double precision."""
    d = x.size
    y = kept.y.astype(x.dtype)
    rough = kept.log_weights - jnp.sum((x - y) ** 2, axis=1) / (2 * sigma**2)
    lead = jnp.argmax(rough)
    c = y[lead]
    step = y - c
    squares = jnp.sum(step * step, axis=1)
    gap = (2 * jnp.sum(step * (x - c), axis=1) - squares) / (2 * sigma**2)
    logits = gap + kept.log_weights - kept.log_weights[lead]
    share = jax.nn.softmax(logits)
    mean = c + jnp.sum(share[:, None] * step, axis=0)
    away = jnp.sum((x - c) ** 2)
    log_mass = jax.nn.logsumexp(logits) + kept.log_weights[lead] - away / (2 * sigma**2)
    log_tail_mass = log_tail_mass_at(kept, x, sigma)
    missing = jax.nn.sigmoid(log_tail_mass - log_mass)
    spread = ball.radius + jnp.linalg.norm(mean - ball.centre)
    far = jnp.max(jnp.where(share > 0, squares, 0))
    small = gamma(d + 8, x.dtype)
    prior = jnp.max(jnp.where(share > 0, jnp.abs(kept.log_weights), 0))
    off = small * ((2 * jnp.sqrt(far * away) + far) / (2 * sigma**2) + prior)
    rounding = jnp.expm1(2 * off + 2 * gamma(y.shape[0] + 40, x.dtype)) * 2 * ball.radius
    # The differences y − c are rounded, and so is c plus their mean.
    rounding += gamma(8, x.dtype) * (ball.norm + jnp.linalg.norm(mean))
    return ShortlistPosterior(
        lead, logits, jnp.sqrt(squares), mean, log_mass, log_tail_mass, missing * spread + rounding
    )


def in_certified_basin(
    kept: Shortlist, seen: ShortlistPosterior, x: State, sigma: Scalar, ball: EnclosingBall
) -> Bool[Array, ""]:
    """Whether the exact flow from x at σ provably ends at the leading pattern."""
    c = kept.y[seen.lead].astype(x.dtype)
    away = jnp.linalg.norm(x - c)
    # What was left out may be as far from c as any pattern is.
    furthest = (ball.radius + jnp.linalg.norm(c - ball.centre)) / sigma
    distances = seen.apart / sigma
    moves = DRIFT * distances / furthest
    gaps = -(seen.logits - (kept.log_weights - kept.log_weights[seen.lead]))

    def way(weight: Array, distance: Array, gap: Array, move: Array) -> Array:
        """Δ e^{−g + Δη}/(γ − Δη), infinite where γ is too small."""
        margin = gap - move
        return jnp.where(margin > 0, distance * weight * jnp.exp(move) / jnp.where(margin > 0, margin, 1), jnp.inf)

    present = (distances > 0) & (kept.log_weights > -jnp.inf)
    inside = jnp.where(present, way(jnp.exp(seen.logits), distances, gaps, moves), 0).sum()
    lead_mass = kept.log_weights[seen.lead] - away**2 / (2 * sigma**2)
    near = jnp.maximum(kept.excluded_distance - jnp.linalg.norm(x - kept.x), 0)
    gap = (near**2 - away**2) / (2 * sigma**2)
    rest = jnp.exp(jnp.minimum(seen.log_tail_mass - lead_mass, 100.0))
    outside = jnp.where(rest > 0, way(rest, furthest, gap, jnp.asarray(DRIFT)), 0)
    return inside + outside < DRIFT / furthest


def shortened(kept: Shortlist, x: State, sigma: Scalar, seen: ShortlistPosterior, size: int) -> Shortlist:
    """Only the `size` likeliest at x and σ. The others join what was left out, and x is the new place to look from."""
    _, place = jax.lax.top_k(seen.logits, size)
    gone = jnp.ones(seen.logits.shape, bool).at[place].set(False) & (kept.log_weights > -jnp.inf)
    lead = kept.y[seen.lead].astype(x.dtype)
    lead_mass = kept.log_weights[seen.lead] - jnp.sum((x - lead) ** 2) / (2 * sigma**2)
    weight = jax.nn.logsumexp(jnp.where(gone, seen.logits, -jnp.inf)) + lead_mass
    distance = jnp.linalg.norm(kept.y.astype(x.dtype) - x, axis=1)
    excluded_distance = jnp.maximum(kept.excluded_distance - jnp.linalg.norm(x - kept.x), 0)
    return Shortlist(
        kept.index[place],
        kept.y[place],
        kept.log_weights[place],
        x,
        sigma,
        jnp.logaddexp(seen.log_tail_mass, weight) + 1e-12,
        jnp.minimum(excluded_distance, jnp.min(jnp.where(gone, distance, jnp.inf))) * (1 - 1e-12),
    )


def required_size(seen: ShortlistPosterior, share: Scalar) -> Int[Array, ""]:
    """How many patterns must stay so that the others weigh less than `share` beside the leading one."""
    weights = jnp.sort(jnp.exp(seen.logits))
    return jnp.sum(jnp.cumsum(weights) > share)
