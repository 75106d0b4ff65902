r"""Modern Hopfield networks as layers of larger networks: association, pooling and look-up with learned projections.

Of H heads, each projects states R, stored patterns Y and values V to its own space,

    q = R W_q,    k = Y W_k,    v = V W_v,

makes updates of the states there, and reads the values out,

    q ← softmax(β q kᵀ) k,    R' = (softmax(β q kᵀ) v of all heads) W_o,

which with one step is attention. Updates lower E(q) = ‖q‖²/2 − β⁻¹ log Σ_j exp(β q·k_j) (Eq. 5).

**Source**: Ramsauer et al. (2021), Hopfield networks is all you need; its flags are listed in the documentation's page
on other libraries.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.dynamics.iteration import with_derivative
from dispersed.precision import full_precision
from dispersed.types import Array, ArrayLike, Bool, Float, Int, Key, Scalar, State
from dispersed.validation import InputError, at_least, mask_array, positive, positive_number, random_key, real_array

MOST = 1000
"""The most updates on the way to a fixed point."""
WRITTEN_OUT = 8
"""The most updates that are compiled without a loop."""


class Association(eqx.Module):
    """What a layer retrieves for q states from n stored patterns, and how its updates ended."""

    output: Float[Array, "... q out"]
    """The values read out, projected."""
    weights: Float[Array, "... heads q n"]
    """softmax(β q kᵀ) at the last state: of each stored pattern in the values read out."""
    energy: Float[Array, "... heads q"]
    """The energy E(q) at that state."""
    converged: Bool[Array, "... heads q"]
    """Whether another update would move no unit of it by more than tol·max(1, max|q_i|)."""
    steps: Int[Array, "... heads q"]
    """The number of times that the state met the stored patterns, reading the values included."""


class Hopfield(eqx.Module):
    r"""Association of states with stored patterns: of each state, a weighted mean of projected values.

    **Arguments**

    - `size`: the width of states.
    - `stored_size`, `value_size`: the widths of stored patterns and of values, if they differ from `size`.
    - `hidden`: the width of a head's space, size/heads by default.
    - `out`: the width of the output, `size` by default.
    - `heads`: the number of heads.
    - `beta`: β > 0, one number or one for each head; 1/√hidden by default, and 1 without projections.
    - `learn_beta`: whether β has a derivative; its logarithm is a parameter then.
    - `steps`: how often a state meets the stored patterns, steps − 1 updates and one reading of values, through which
      derivatives pass; 1 is attention. `None` iterates to a fixed point and differentiates that, by the implicit
      function theorem, at the same memory however many updates were made; the derivative with respect to the state is
      zero then, in whose basin of attraction nothing changes.
    - `tol`: a fixed point is a state that no unit leaves by more than tol·max(1, max|q_i|); at most 1,000 updates.
    - `normalise`: whether states, stored patterns and values pass through layer norms with learned scale and offset.
    - `project`: whether there are projections; without them and without `normalise` this is `dispersed.ModernHopfield`.
    - `bias`: whether projections have an offset.
    - `dropout`: the probability with which weights are dropped, where a call has a `key`.
    - `key`: of the initial parameters.

    **Raises** `InputError` for sizes, probabilities and β outside their domains, and for several heads without
    projections.

    >>> import jax
    >>> from dispersed.layers import Hopfield
    >>> layer = Hopfield(4, heads=2, key=jax.random.key(0))
    >>> layer(jax.numpy.ones((3, 4)), jax.numpy.ones((10, 4))).shape
    (3, 4)
    """

    state_norm: eqx.nn.LayerNorm | None
    stored_norm: eqx.nn.LayerNorm | None
    value_norm: eqx.nn.LayerNorm | None
    to_state: eqx.nn.Linear | None
    to_stored: eqx.nn.Linear | None
    to_value: eqx.nn.Linear | None
    to_output: eqx.nn.Linear | None
    log_beta: Float[Array, " heads"]
    sizes: tuple[int, int, int] = eqx.field(static=True)
    heads: int = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)
    tol: float = eqx.field(static=True)
    learn_beta: bool = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        stored_size: int | None = None,
        value_size: int | None = None,
        hidden: int | None = None,
        out: int | None = None,
        heads: int = 1,
        beta: ArrayLike | None = None,
        learn_beta: bool = False,
        steps: int | None = 1,
        tol: float = 1e-4,
        normalise: bool = True,
        project: bool = True,
        bias: bool = True,
        dropout: float = 0.0,
        key: Any,
    ) -> None:
        random_key(key)
        size, self.heads = at_least("size", size, 1), at_least("heads", heads, 1)
        stored_size = size if stored_size is None else at_least("stored_size", stored_size, 1)
        value_size = stored_size if value_size is None else at_least("value_size", value_size, 1)
        self.sizes = size, stored_size, value_size
        self.steps = None if steps is None else at_least("steps", steps, 1)
        self.tol = positive_number("tol", tol)
        self.learn_beta = bool(learn_beta)
        if not 0 <= dropout < 1:
            raise InputError("dropout", f"got {dropout!r}", "probabilities from 0 and below 1 are accepted")
        self.dropout = float(dropout)
        if project:
            if hidden is None and size % heads:
                raise InputError("hidden", f"got none for {size} units and {heads} heads", "give the width of a head")
            hidden = size // heads if hidden is None else at_least("hidden", hidden, 1)
            out = size if out is None else at_least("out", out, 1)
            wide = heads * hidden
            keys = jax.random.split(key, 4)
            self.to_state = eqx.nn.Linear(size, wide, use_bias=bias, key=keys[0])
            self.to_stored = eqx.nn.Linear(stored_size, wide, use_bias=bias, key=keys[1])
            self.to_value = eqx.nn.Linear(value_size, wide, use_bias=bias, key=keys[2])
            self.to_output = eqx.nn.Linear(wide, out, use_bias=bias, key=keys[3])
        else:
            if heads > 1 or hidden is not None or out is not None or stored_size != size:
                given = "got heads, hidden, out or stored_size beside project=False"
                raise InputError("project", given, "without projections there is one head, of the states' own width")
            self.to_state = self.to_stored = self.to_value = self.to_output = None
        self.state_norm = eqx.nn.LayerNorm(size) if normalise else None
        self.stored_norm = eqx.nn.LayerNorm(stored_size) if normalise else None
        self.value_norm = eqx.nn.LayerNorm(value_size) if normalise else None
        level = positive("beta", (1 / math.sqrt(hidden) if hidden else 1.0) if beta is None else beta)
        if level.shape not in ((), (heads,)):
            raise InputError("beta", f"got shape {level.shape}", f"one number, or one for each of {heads} heads")
        self.log_beta = jnp.broadcast_to(jnp.log(level), (heads,))

    @property
    def beta(self) -> Float[Array, " heads"]:
        """The inverse temperature of each head."""
        return jnp.exp(self.log_beta if self.learn_beta else jax.lax.stop_gradient(self.log_beta))

    def __call__(
        self,
        state: ArrayLike,
        stored: ArrayLike,
        values: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "... q out"]:
        """The output of `associate` alone."""
        return self.associate(state, stored, values, mask=mask, key=key).output

    @full_precision
    def associate(
        self,
        state: ArrayLike,
        stored: ArrayLike,
        values: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Association:
        """What is retrieved for states (..., q, size) from stored patterns (..., n, stored_size) with values.

        - `values`: (..., n, value_size), the stored patterns themselves by default.
        - `mask`: (..., q, n), or (..., n) with one axis less, True where a stored pattern may be retrieved; where none
          may, values are 0.
        - `key`: of dropout; without it there is none.

        Batch axes broadcast. Raises `InputError` for other shapes.
        """
        x, y = _rows("state", state, self.sizes[0]), _rows("stored", stored, self.sizes[1])
        v = _rows("values", stored if values is None else values, self.sizes[2])
        n = y.shape[-2]
        if v.shape[-2] != n:
            raise InputError("values", f"got {v.shape[-2]} values for {n} stored patterns", "one for each is accepted")
        allowed = _allowed(mask, x, y)
        q = self._split(_each(self.to_state, _each(self.state_norm, x)))
        k = self._split(_each(self.to_stored, _each(self.stored_norm, y)))
        v = self._split(_each(self.to_value, _each(self.value_norm, v)))
        beta = self.beta.astype(q.dtype)[:, None, None]
        if self.steps is None:
            q, steps = _fixed_point(q, k, beta, allowed, self.tol)
        else:
            q = _updated(q, k, beta, allowed, self.steps - 1)
            steps = jnp.asarray(self.steps)
        p = _weights(q, k, beta, allowed)
        read = p if key is None else eqx.nn.Dropout(self.dropout)(p, key=key)
        output = jnp.moveaxis(read @ v, -3, -2)
        output = _each(self.to_output, output.reshape(*output.shape[:-2], -1))
        fixed = _moved(p @ k, q) <= self.tol
        return Association(output, p, _energy(q, k, beta, allowed), fixed, jnp.broadcast_to(steps, fixed.shape))

    def _split(self, x: Float[Array, "... n c"]) -> Float[Array, "... heads n e"]:
        return jnp.moveaxis(x.reshape(*x.shape[:-1], self.heads, -1), -2, -3)


class HopfieldPooling(eqx.Module):
    """A set of any size as one vector: what learned states retrieve from it.

    **Arguments**: `size`, the width of the members of a set; `quantity`, the number of learned states, whose outputs
    stand side by side; the others are those of `Hopfield`.
    """

    states: Float[Array, "quantity size"]
    layer: Hopfield

    def __init__(self, size: int, quantity: int = 1, *, key: Any, **settings: Any) -> None:
        random_key(key)
        first, second = jax.random.split(key)
        self.layer = Hopfield(size, key=first, **settings)
        self.states = jax.random.normal(second, (at_least("quantity", quantity, 1), size))

    def __call__(
        self, stored: ArrayLike, *, mask: ArrayLike | None = None, key: Key[Array, ""] | None = None
    ) -> Float[Array, "... out"]:
        """The pooled vectors (..., quantity·out) of sets (..., n, size); `mask` (..., n) says who is a member."""
        output = self.associate(stored, mask=mask, key=key).output
        return output.reshape(*output.shape[:-2], -1)

    def associate(
        self, stored: ArrayLike, *, mask: ArrayLike | None = None, key: Key[Array, ""] | None = None
    ) -> Association:
        """What each learned state retrieves, with weights and energy."""
        return self.layer.associate(self.states, stored, mask=mask, key=key)


class HopfieldLookup(eqx.Module):
    """A learned table: what states retrieve from stored patterns, and values of theirs, that are parameters.

    **Arguments**: `size`, the width of states; `quantity`, the number of stored patterns; `stored` (quantity, size)
    and `values` (quantity, value_size), to begin with, random by default; the others are those of `Hopfield`.
    """

    stored: Float[Array, "quantity size"]
    values: Float[Array, "quantity value_size"]
    layer: Hopfield

    def __init__(
        self,
        size: int,
        quantity: int,
        *,
        stored: ArrayLike | None = None,
        values: ArrayLike | None = None,
        key: Any,
        **settings: Any,
    ) -> None:
        random_key(key)
        keys = jax.random.split(key, 3)
        if values is not None and settings.get("value_size") is None:
            settings["value_size"] = _rows("values", values, None).shape[-1]
        self.layer = Hopfield(size, key=keys[0], **settings)
        _, stored_size, value_size = self.layer.sizes
        shapes = (at_least("quantity", quantity, 1), stored_size), (quantity, value_size)
        self.stored = jax.random.normal(keys[1], shapes[0]) if stored is None else _rows("stored", stored, stored_size)
        self.values = jax.random.normal(keys[2], shapes[1]) if values is None else _rows("values", values, value_size)
        for name, array, shape in (("stored", self.stored, shapes[0]), ("values", self.values, shapes[1])):
            if array.shape != shape:
                raise InputError(name, f"got shape {array.shape}", f"{shape} is accepted")

    def __call__(
        self, state: ArrayLike, *, mask: ArrayLike | None = None, key: Key[Array, ""] | None = None
    ) -> Float[Array, "... q out"]:
        """What states (..., q, size) retrieve, (..., q, out)."""
        return self.associate(state, mask=mask, key=key).output

    def associate(
        self, state: ArrayLike, *, mask: ArrayLike | None = None, key: Key[Array, ""] | None = None
    ) -> Association:
        """The same with weights and energy."""
        return self.layer.associate(state, self.stored, self.values, mask=mask, key=key)


class _Head(eqx.Module):
    """One head's update of one state."""

    k: Float[Array, "n c"]
    beta: Scalar
    allowed: Bool[Array, " n"]

    @full_precision
    def _update(self, x: State) -> State:
        return _weights(x[None], self.k, self.beta, self.allowed)[0] @ self.k

    @full_precision
    def _pushed(self, v: State, x: State) -> State:
        """β kᵀ (diag p − p pᵀ) k v."""
        p = _weights(x[None], self.k, self.beta, self.allowed)[0]
        change = p * (self.k @ v)
        return self.beta * ((change - p * jnp.sum(change)) @ self.k)


@full_precision
def _weights(
    q: Float[Array, "... q c"], k: Float[Array, "... n c"], beta: Float[Array, "..."], allowed: Bool[Array, "..."]
) -> Float[Array, "... q n"]:
    """softmax(β q kᵀ) over the patterns that are allowed; none has weight where none is."""
    logits = beta * (q @ jnp.swapaxes(k, -1, -2))
    return jnp.where(allowed, jax.nn.softmax(jnp.where(allowed, logits, jnp.finfo(q.dtype).min)), 0)


@full_precision
def _energy(
    q: Float[Array, "... q c"], k: Float[Array, "... n c"], beta: Float[Array, "..."], allowed: Bool[Array, "..."]
) -> Float[Array, "... q"]:
    """‖q‖²/2 − β⁻¹ log Σ_j exp(β q·k_j)."""
    logits = beta * (q @ jnp.swapaxes(k, -1, -2))
    largest = jnp.finfo(q.dtype).max
    log_sum = jax.nn.logsumexp(jnp.where(allowed, logits, -largest), axis=-1)
    return jnp.clip(jnp.sum(q**2, axis=-1) / 2 - log_sum / beta[..., 0], -largest, largest)


def _moved(new: Float[Array, "... c"], old: Float[Array, "... c"]) -> Float[Array, "..."]:
    """How far an update moves a unit at most, in parts of the largest, if that is above 1."""
    return jnp.max(jnp.abs(new - old), axis=-1) / jnp.maximum(1, jnp.max(jnp.abs(new), axis=-1))


def _updated(
    q: Float[Array, "... q c"],
    k: Float[Array, "... n c"],
    beta: Float[Array, "..."],
    allowed: Bool[Array, "..."],
    count: int,
) -> Float[Array, "... q c"]:
    """The states after a number of updates."""
    batch = jnp.broadcast_shapes(q.shape[:-2], k.shape[:-2], allowed.shape[:-2])
    q = jnp.broadcast_to(q, (*batch, *q.shape[-2:]))

    @full_precision
    def update(q: Float[Array, "... q c"], _: None) -> tuple[Float[Array, "... q c"], None]:
        return _weights(q, k, beta, allowed) @ k, None

    # A few are written out, which saves the loop.
    return jax.lax.scan(update, q, None, count, unroll=max(1, count if count <= WRITTEN_OUT else 1))[0]


def _fixed_point(
    q: Float[Array, "... q c"],
    k: Float[Array, "... n c"],
    beta: Float[Array, "..."],
    allowed: Bool[Array, "..."],
    tol: float,
) -> tuple[Float[Array, "... q c"], Int[Array, "... q"]]:
    """Where updates end, as a function of the stored patterns and β, and how many readings that took."""
    batch = jnp.broadcast_shapes(q.shape[:-2], k.shape[:-2], allowed.shape[:-2])
    start = jnp.broadcast_to(jax.lax.stop_gradient(q), (*batch, *q.shape[-2:]))
    constant = jax.lax.stop_gradient((k, beta))

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Bool[Array, ""]:
        _, fixed, _, step = carry
        return ~jnp.all(fixed) & (step < MOST)

    @full_precision
    def advance(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        x, fixed, count, step = carry
        new = _weights(x, *constant, allowed) @ constant[0]
        # A state that stands still does not depend on its neighbours in the batch.
        x = jnp.where(fixed[..., None], x, new)
        return x, fixed | (_moved(new, carry[0]) <= tol), count + ~fixed, step + 1

    fixed = jnp.zeros(start.shape[:-1], bool)
    x, _, count, _ = jax.lax.while_loop(unfinished, advance, (start, fixed, jnp.ones(fixed.shape, int), jnp.int32(0)))

    rows, c = x.shape[-2], x.shape[-1]
    keys = jnp.broadcast_to(k, (*batch, *k.shape[-2:])).reshape(-1, *k.shape[-2:])
    betas = jnp.broadcast_to(beta[..., 0, 0], batch).reshape(-1)
    masks = jnp.broadcast_to(allowed, (*batch, rows, k.shape[-2])).reshape(-1, rows, k.shape[-2])

    def derived(k: Float[Array, "n c"], beta: Scalar, allowed: Bool[Array, " n"], x: State) -> State:
        found: State = with_derivative(_Head(k, beta, allowed), x)
        return found

    every = jax.vmap(jax.vmap(derived, (None, None, 0, 0)))
    return every(keys, betas, masks, x.reshape(-1, rows, c)).reshape(x.shape), count


@full_precision
def _each(module: eqx.nn.Linear | eqx.nn.LayerNorm | None, x: Float[Array, "... n c"]) -> Float[Array, "... n e"]:
    """A projection or norm of every row."""
    if module is None:
        return x
    if isinstance(module, eqx.nn.Linear):
        y = x @ module.weight.T
        return y if module.bias is None else y + module.bias
    return jax.vmap(module)(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def _rows(argument: str, value: Any, width: int | None) -> Float[Array, "... n c"]:
    """A batch of rows of a given width."""
    array = real_array(argument, value)
    if array.ndim < 2 or width not in (None, array.shape[-1]) or array.shape[-2] == 0:
        raise InputError(
            argument, f"got shape {array.shape}", f"rows of {width or 'any'} units, (..., n, {width or 'c'})"
        )
    return array


def _allowed(mask: Any, state: Float[Array, "... q c"], stored: Float[Array, "... n e"]) -> Bool[Array, "... 1 rows n"]:
    """Which patterns each state may retrieve, with an axis for the heads."""
    rows, n = state.shape[-2], stored.shape[-2]
    if mask is None:
        return jnp.ones((1, 1, n), bool)
    given = mask_array(mask, jnp.shape(mask), "mask")
    full = max(state.ndim, stored.ndim)
    if given.ndim == full - 1 and given.shape[-1] == n:
        return given[..., None, None, :]
    if given.ndim != full or given.shape[-1] != n or given.shape[-2] not in (1, rows):
        raise InputError("mask", f"got shape {given.shape}", f"(..., {n}) or (..., {rows}, {n}) is accepted")
    return given[..., None, :, :]


__all__ = ["Association", "Hopfield", "HopfieldLookup", "HopfieldPooling"]
