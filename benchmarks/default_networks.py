"""Updates and recalls of the networks beside PyTorch's product, or its whole update."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.default_patterns import CHECKED, normal
from benchmarks.goals import against, warm
from benchmarks.rivals import hopfield_layers, on_threads, torch_or_none


def updates(case, network, x, rivals, goal, exact, repeats, limit, wrong, same):
    """One `update`, and a third of a recall of three; the goal is a function of PyTorch's time.

    `same`: whether PyTorch computes the whole update.
    """
    from dispersed import Iteration, recall

    cues, steps = jnp.asarray(x), 3
    functions = {
        "update": lambda: network.update(cues),
        "recall": lambda: recall(network, cues, Iteration(steps=steps, tol=0)).x,
        **rivals,
    }
    times = warm(functions, repeats, limit)
    times["recall"] /= steps
    error = wrong(np.asarray(network.update(cues))[: len(exact)])
    torch_error = wrong(rivals["torch"]()[: len(exact)]) if same and "torch" in rivals else ""
    most = goal(times.get("torch", 1))
    lines = [
        against(case, "update", times, "update", most, error, torch_error),
        against(case, "recall of three updates, each", times, "recall", most),
    ]
    if "hopfield-layers" in times:
        lines.append(against(case, "hopfield-layers, one update", times, "hopfield-layers", None))
    return lines


def modern_case(case, n, d, states, repeats, limit):
    from dispersed import ModernHopfield

    y, beta = normal(n, d), float(d**-0.5)
    rng = np.random.default_rng(1)
    x = (y[rng.integers(0, n, states)] + rng.standard_normal((states, d))).astype(np.float32)
    patterns, cues = jnp.asarray(y), jnp.asarray(x)
    plain = jax.jit(lambda patterns, x: jax.nn.softmax(beta * (x @ patterns.T), axis=1) @ patterns)
    rivals = {"jax": lambda: plain(patterns, cues)}
    torch = torch_or_none()
    if torch is not None:
        kv, q = torch.from_numpy(y), torch.from_numpy(x)

        rivals |= on_threads(lambda: torch.softmax(beta * (q @ kv.T), dim=1) @ kv)
        rivals |= hopfield_layers(kv, q, beta)
    exact = modern_update(y, x[:CHECKED], beta)
    return updates(
        case,
        ModernHopfield(y, beta),
        x,
        rivals,
        lambda unit: 2.0 if unit < 5e-3 else 1.3,
        exact,
        repeats,
        limit,
        lambda found: f"{np.abs(found - exact).max():.1e}",
        True,
    )


def modern_update(y, x, beta):
    """Eq. 5 in float64."""
    logits = beta * x.astype(float) @ y.T.astype(float)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ y / weights.sum(axis=1, keepdims=True)


def user_interaction(a):
    return a**3 + 100 * a


def binary_network(kind, y):
    from dispersed import ClassicalHopfield, DenseHopfield, Exponential

    if kind == "classical":
        return ClassicalHopfield(y)
    return DenseHopfield(y, *{"cubic": (), "exponential": (Exponential(1.0),), "user": (user_interaction,)}[kind])


def binary_signs(kind, y, x):
    """The signs of the fields of ±1 states by Eq. 3 and 4, term by term in float64; 0 where a field is."""
    functions = {
        "cubic": lambda a, largest: a**3,
        "exponential": lambda a, largest: np.exp(a - largest),
        "user": lambda a, largest: user_interaction(a),
    }
    y, fields = y.astype(float), []
    for row in x.astype(float):
        h = y @ row
        if kind == "classical":
            fields.append(h @ y - len(y) * row)
        else:
            rest, F = h[:, None] - y * row, functions[kind]
            fields.append(np.sum(F(rest + y, h.max() + 2) - F(rest - y, h.max() + 2), axis=0))
    return np.sign(fields)


def binary_patterns(n, d, states):
    """Random patterns, and states that differ from them in a tenth of the units."""
    rng = np.random.default_rng(0)
    y = rng.choice(np.float32([-1, 1]), (n, d))
    return y, y[rng.integers(0, n, states)] * rng.choice(np.float32([-1, 1]), (states, d), p=[0.1, 0.9])


def binary_case(case, kind, n, d, states, repeats, limit):
    """Against one product of states and patterns; errors are units that take another sign than by Eq. 4 in float64."""
    y, x = binary_patterns(n, d, states)
    network, exact = binary_network(kind, y), binary_signs(kind, y, x[:2])
    patterns, cues = jnp.asarray(y), jnp.asarray(x)
    product = jax.jit(lambda patterns, x: x @ patterns.T)
    rivals = {"jax": lambda: product(patterns, cues)}
    torch = torch_or_none()
    if torch is not None:
        kv, q = torch.from_numpy(y), torch.from_numpy(x)
        rivals |= on_threads(lambda: q @ kv.T)

    def wrong(found):
        return f"{np.sum((found != exact) & (exact != 0))} of {exact.size}"

    return updates(case, network, x, rivals, lambda unit: 5.0, exact, repeats, limit, wrong, False)
