r"""The modern Hopfield network at β beside exact diffusion held at σ² = 1/β, for patterns of equal and of unequal
norms.

Up to what all patterns have in common the energies are

    −σ² log Σ_j e^{β x·y_j} + ‖x‖²/2    and    −σ² log Σ_j e^{β x·y_j − β‖y_j‖²/2} + ‖x‖²/2,

so that the network is diffusion with the prior log w_j = ‖y_j‖²/2σ². Where norms differ, the responsibilities of
both, p and q, differ by the factors e^{β‖y_j‖²/2}, and with R = max‖y_j‖² − min‖y_j‖²

    TV(p, q) ≤ tanh(βR/8),

for the ratio of two distributions with log ratio of range H bounds their distance by tanh(H/4). Which pattern leads
at a cue, by either, predicts where both recalls end.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from dispersed.capacities import Gaussian, Rademacher, Sparse, Spherical, Subsample
from dispersed.capacities.ensembles import Ensemble
from dispersed.datasets import load_digits
from dispersed.dynamics import Iteration, recall
from dispersed.memories import ModernHopfield, PatternMemory
from dispersed.paper.results import Row
from dispersed.progress import track
from dispersed.validation import at_least, random_seed

UNITS, PATTERNS = 16, 12
RETRIEVAL = 5.0
"""The β from which on recalls end near patterns rather than near their mean."""
ONE_STATE = 0.1
"""The distance of two recalled states, relative to the spread of the patterns, up to which they are one."""


def ensembles() -> dict[str, tuple[Ensemble, int]]:
    """The distributions of patterns by name, with their numbers of units."""
    digits = np.asarray(load_digits()[0])
    return {
        "±1": (Rademacher(), UNITS),
        "sphere": (Spherical(), UNITS),
        "0/1": (Sparse(0.5), UNITS),
        "gaussian": (Gaussian(), UNITS),
        "heavy-tailed": (heavy_tailed, UNITS),
        "digits": (Subsample(digits), digits.shape[1]),
    }


def heavy_tailed(rng: np.random.Generator, n: int, d: int) -> Float[np.ndarray, "n d"]:
    """Student's t with 3 degrees of freedom, of unit variance."""
    return rng.standard_t(3, (n, d)) / np.sqrt(3)


def equivalence(seed: int = 0, betas: Sequence[float] = (0.05, 0.2, 1.0, 5.0, 20.0, 100.0), sets: int = 6) -> list[Row]:
    """One row for each distribution, β and prior of diffusion, uniform or `repaired` by log w = ‖y‖²/2σ²."""
    random_seed(seed)
    at_least("sets", sets, 1)
    rows: list[Row] = []
    # Whether differences vanish is decided by round-off.
    with jax.enable_x64(True):
        for name, (ensemble, d) in track(ensembles().items(), "Equivalence", total=len(ensembles())):
            for beta in betas:
                found = [_one_set(ensemble, d, beta, np.random.default_rng([seed, r])) for r in range(sets)]
                for prior in ("uniform", "repaired"):
                    rows.append({"ensemble": name, "beta": beta, "prior": prior, **_over_sets(found, prior)})
    return rows


Measured = dict[str, dict[str, Float[np.ndarray, " cues"]]]


def _one_set(ensemble: Ensemble, d: int, beta: float, rng: np.random.Generator) -> Measured:
    """What each cue of one set of patterns says, by prior."""
    sigma = beta**-0.5
    y = ensemble(rng, PATTERNS, d)
    spread = np.sqrt(y.var(axis=0).sum())
    norms = (y**2).sum(axis=1)
    cues = y + sigma * rng.standard_normal(y.shape)
    network = ModernHopfield(y, beta)
    once, energy = np.asarray(network.update(cues)), np.asarray(network.energy(cues))
    end = np.asarray(recall(network, cues, Iteration(1000)).x)
    p = softmax(beta * cues @ y.T, axis=1)
    found: Measured = {}
    for prior, log_w in (("uniform", np.zeros(PATTERNS)), ("repaired", beta * norms / 2)):
        memory = PatternMemory(y, log_weights=log_w)
        difference = np.asarray(memory.energy(cues, sigma)) - energy
        other_end = np.asarray(recall(memory, cues, Iteration(1000), sigma=sigma).x)
        q = softmax(log_w + beta * (cues @ y.T - norms / 2), axis=1)
        same = np.linalg.norm(end - other_end, axis=1) < ONE_STATE * spread
        found[prior] = {
            "energy": np.abs(difference - difference.mean()) * beta,
            "output": np.linalg.norm(once - np.asarray(memory.denoise(cues, sigma)), axis=1) / spread,
            "variation": np.abs(p - q).sum(axis=1) / 2,
            "bound": np.full(PATTERNS, np.tanh(np.ptp(beta * norms / 2 - log_w) / 4)),
            "same_end": same,
            "same_leader": p.argmax(axis=1) == q.argmax(axis=1),
            "diffusion": _nearest(other_end, y) == np.arange(PATTERNS),
            "network": _nearest(end, y) == np.arange(PATTERNS),
        }
    return found


def _nearest(states: Float[np.ndarray, "m d"], y: Float[np.ndarray, "n d"]) -> np.ndarray:
    return ((states[:, None] - y) ** 2).sum(axis=2).argmin(axis=1)


def _over_sets(found: Sequence[Measured], prior: str) -> Row:
    """All cues of all sets together."""
    of = {name: np.concatenate([each[prior][name] for each in found]) for name in found[0][prior]}

    def mean(name: str) -> float:
        return float(np.mean(of[name]))

    return {
        "energy_difference": float(of["energy"].max()),
        "output_difference": float(np.sqrt(np.mean(of["output"] ** 2))),
        "variation": mean("variation"),
        "bound": mean("bound"),
        "bound_holds": bool((of["variation"] <= of["bound"] + 1e-9).all()),
        "same_end": mean("same_end"),
        "same_leader": mean("same_leader"),
        "predicted": float(np.mean(of["same_end"] == of["same_leader"])),
        "right_diffusion": mean("diffusion"),
        "right_network": mean("network"),
        "cues": int(of["energy"].size),
    }
