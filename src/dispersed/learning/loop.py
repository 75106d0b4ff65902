"""The training loop: compiled stretches of steps, and between them checks, checkpoints and news for whoever waits.

It trains m networks at once, one network being the case m = 1. The steps of a stretch run inside one compiled
program. Everything random depends on the member's key and the number of the step, so a training that was
interrupted goes on exactly as it would have.
"""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.learning.across import across
from dispersed.learning.checkpoint import CHECKED, Checkpoint
from dispersed.learning.feed import fed
from dispersed.learning.probe import Data, Probes, probes
from dispersed.learning.progress import TrainingProgress
from dispersed.learning.recipe import Recipe
from dispersed.learning.state import Best, Fed, Fixed, State, Stream, advance, draw_cues
from dispersed.machine import cores, jitted_soon, on_cores
from dispersed.tracing import as_array
from dispersed.types import Array, Float, Int, Key, Patterns, Scalar
from dispersed.validation import InputError

AHEAD = 2**16
"""Random numbers that a network draws at once, for several steps where these are small: a step's worth of them would
take longer to ask for than to make."""


class DivergedError(InputError):
    """The loss of a training stopped being a finite number."""

    def __init__(self, step: int, loss: float, member: int | None, kept: str) -> None:
        of = "" if member is None else f" of network {member}"
        super().__init__("training", f"the loss{of} is {loss} at step {step}", kept)
        self.step = step


class Curve(eqx.Module):
    """How a training went; for an ensemble every array has the members as first axis."""

    loss: Float[Array, "*m steps"]
    """The training loss before every step."""
    checked: Int[Array, " *m checks"]
    """The steps after which the held-out error was measured."""
    error: Float[Array, "*m checks"]
    """Denoising error per unit of the patterns learned under noise never seen, root mean square of D_σ(z) − y over the
    trained levels."""
    gap: Float[Array, "*m checks"] | None
    """Distance from the exact denoiser per unit, root mean square of D_σ(z) − E[y | z]; None for streams."""
    held_out: Float[Array, "*m checks"] | None = None
    """The denoising error per unit of patterns that were held out; None where none are."""


# Matrix products, which no compiler improves, take nearly all its time.
@jitted_soon()
def stretch(
    states: State,
    best: Best | None,
    recipe: Recipe,
    data: Fixed | Stream | Fed,
    probes: Probes,
    keys: Key[Array, " m"],
    count: Int[Array, ""],
    most: int,
) -> tuple[State, Best | None, Float[Array, "m most"], tuple[Float[Array, " m"] | None, ...]]:
    """`count` ≤ `most` steps of every member, and a check: states, losses, and what `CHECKED` names."""

    def member(state: State, best: Best | None, own: Any, probes: Probes, key: Key[Array, ""]) -> Any:
        source = data if own is None else own
        arrays, rest = eqx.partition(state, eqx.is_array)
        n, d = jax.eval_shape(source.batch, key, state.step)[0].shape
        ahead = max(1, min(most, AHEAD // (n * recipe.draws * (d + 1))))

        def block(b: Int[Array, ""], carry: tuple[State, Float[Array, " most"]]) -> Any:
            done = b * ahead
            numbers = carry[0].step + jnp.arange(ahead)
            cues = jax.vmap(lambda number: draw_cues(recipe, source, key, number))(numbers)

            def step(i: Int[Array, ""], carry: tuple[State, Float[Array, " most"]]) -> Any:
                arrays, losses = carry
                own = jax.tree.map(lambda leaf: leaf[i], cues)
                state, loss = advance(eqx.combine(arrays, rest), recipe, own)
                return eqx.filter(state, eqx.is_array), losses.at[done + i].set(loss)

            return jax.lax.fori_loop(0, jnp.minimum(ahead, count - done), step, carry)

        blocks = (count + ahead - 1) // ahead
        arrays, losses = jax.lax.fori_loop(0, blocks, block, (arrays, jnp.full(most, jnp.nan)))
        state = eqx.combine(arrays, rest)
        error, gap = probes.known.measure(state.result)
        unseen = None if probes.held_out is None else probes.held_out.measure(state.result)[0]
        judged = better(best, state, error if unseen is None else unseen)
        return state, judged, losses, (error, gap, unseen)

    own = None if isinstance(data, Stream) else data
    return across(member, states, best, own, probes, keys)


def stretches(
    states: State, best: Best | None, recipe: Recipe, data: Fixed | Stream | Fed, probes: Probes, keys: Any, *how: Any
) -> Any:
    """`stretch` of all members, as many groups of them at once as there are cores."""
    members = len(keys)
    groups = min(cores(), members)
    bounds = [members * i // groups for i in range(groups + 1)]
    own, shared = (None, data) if isinstance(data, Stream) else (data, None)
    arrays, rest = eqx.partition((states, best, own, probes, keys), eqx.is_array)

    def group(part: Any) -> tuple[Any, ...]:
        states, best, own, probes, keys = eqx.combine(part, rest)
        return stretch(states, best, recipe, shared if own is None else own, probes, keys, *how)

    if groups == 1:
        return group(arrays)
    return joined(*on_cores(groups, group, divided(arrays, bounds)))


@jitted_soon(0)
def divided(arrays: Any, bounds: list[int]) -> list[Any]:
    """Trees of the members from each bound to the next."""
    return [jax.tree.map(lambda array, i=i, j=j: array[i:j], arrays) for i, j in itertools.pairwise(bounds)]


@jitted_soon(0)
def joined(*parts: Any) -> Any:
    """One tree of all their members."""
    return jax.tree.map(lambda *each: jnp.concatenate(each) if eqx.is_array(each[0]) else each[0], *parts)


def better(best: Best | None, state: State, error: Scalar) -> Best | None:
    """The better of the best network so far and the present one."""
    if best is None:
        return None
    improved = error < best.error
    memory = jax.tree.map(
        lambda new, old: jnp.where(improved, new, old) if eqx.is_array(new) else new, state.result, best.memory
    )
    return Best(memory, jnp.where(improved, error, best.error), jnp.where(improved, 0, best.waited + 1))


def run(
    states: State,
    recipe: Recipe,
    data: Data,
    keys: Key[Array, " m"],
    *,
    held_out: Patterns | None = None,
    check_every: int,
    patience: int | None,
    checkpoint: Checkpoint | None,
    title: str,
) -> tuple[State, Best | None, Curve]:
    """Train all members to the end of the recipe, or until none has improved for `patience` checks."""
    members = len(keys)
    best = None if patience is None else first_best(states, members)

    def waiting() -> bool:
        return best is None or patience is None or not bool((best.waited >= patience).all())

    judges = probes(data, recipe, keys, held_out)
    losses = np.zeros((members, 0), dtype=np.float32)
    checks: list[dict[str, Any]] = []
    if checkpoint is not None and checkpoint.exists():
        states, best, losses, checks = checkpoint.load(states, best, recipe.steps)
    done = losses.shape[1]
    untimed = eqx.tree_at(lambda r: r.steps, recipe, 1)  # how long it goes on is no part of what is compiled
    with TrainingProgress(title, recipe.steps, members, done) as progress:
        while done < recipe.steps and waiting():
            count = min(check_every, recipe.steps - done)
            seen = fed(data, done, count, check_every) if isinstance(data, list) else data
            states, best, new, found = stretches(
                states, best, untimed, seen, judges, keys, jnp.asarray(count, dtype=int), check_every
            )
            fresh = np.asarray(new)[:, :count]
            if not np.isfinite(fresh).all():
                raise diverged(fresh, done, checkpoint)
            losses = np.concatenate([losses, fresh], axis=1)
            done += count
            values = [None if value is None else np.asarray(value).tolist() for value in found]
            checks.append({"step": done, **dict(zip(CHECKED, values, strict=True))})
            gap = checks[-1]["gap"]
            progress.show(done, float(fresh.mean()), None if gap is None else float(np.mean(gap)))
            if checkpoint is not None:
                checkpoint.save_if_due(states, best, losses, checks)
    if checkpoint is not None:
        checkpoint.save(states, best, losses, checks)
    return states, best, curve(losses, checks, members)


def first_best(states: State, members: int) -> Best:
    return Best(states.result, jnp.full(members, jnp.inf), jnp.zeros(members, dtype=int))


def curve(losses: np.ndarray, checks: list[dict[str, Any]], members: int) -> Curve:
    steps = np.asarray([check["step"] for check in checks], dtype=int)

    def measured(name: str) -> Array | None:
        if checks and checks[0][name] is None:
            return None
        return as_array(np.asarray([check[name] for check in checks]).reshape(len(checks), members).T, float)

    error, gap, held_out = map(measured, CHECKED)
    assert error is not None
    return Curve(as_array(losses), as_array(np.broadcast_to(steps, (members, len(checks)))), error, gap, held_out)


def diverged(fresh: np.ndarray, done: int, checkpoint: Checkpoint | None) -> DivergedError:
    """The error that names the first step at which a loss was not finite, and what can be resumed from."""
    at = int(np.argmax(~np.isfinite(fresh).all(axis=0)))
    member = int(np.argmax(~np.isfinite(fresh[:, at])))
    if checkpoint is None:
        kept = "no checkpoint was kept"
    elif checkpoint.last is None:
        kept = f"no checkpoint was written to {str(checkpoint.path)!r} yet"
    else:
        kept = f"the last good checkpoint is {str(checkpoint.path)!r}, step {checkpoint.last}"
    advice = "; lower the learning rate or clip the gradient"
    return DivergedError(done + at, float(fresh[member, at]), member if len(fresh) > 1 else None, kept + advice)
