r"""The exact denoiser of patches: what a network that sees a small part of an image at a time can learn at best.

With x[P] the entries of x in a window of `patch` × `patch` pixels around a place, and y_j[Q] those of a training image
in the window around another place, each pixel is denoised by its own window alone,

    D_σ(x) at a place = Σ_{j,Q} p(j, Q | x[P]) y_j at the centre of Q,
    p(j, Q | x[P]) = softmax_{j,Q}( −‖x[P] − y_j[Q]‖²/(2σ²) ).

Q is the same place as P, or, where the memory is equivariant, each place whose window the border cuts off in the same
way: inside of the image all of them. As the patch grows beyond the image every window is the whole of it, and the
memory becomes that of the whole images; of one pixel it is the posterior of that pixel alone.

Each pixel is the mean of a posterior, but of a posterior of its own: the Jacobian of all together is not symmetric as
a rule, so the field D_σ(x) − x is no gradient, and there is neither an energy nor a density.

Logits are products in double precision. Images are taken block by block, and the sums over blocks merged as those of
`dispersed.engines.online_softmax` are.

**Sources**: Kamb & Ganguli (2024), An analytic theory of creativity in convolutional diffusion models, arXiv
2412.20292; Niedoba, Zwartsenberg, Murphy & Wood (2024), Towards a mechanistic explanation of diffusion model
generalization, arXiv 2411.19339.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.engines.online_softmax import SoftmaxSums, empty_sums, merge
from dispersed.memories.denoiser import Denoiser
from dispersed.precision import full_precision
from dispersed.primitives import primitive
from dispersed.types import Array, ArrayLike, Float, Scalar, State
from dispersed.validation import InputError, at_least, pattern_array, real_array

AT_ONCE = 1 << 21
"""Logits, or entries of patches, of one block of images, for one state."""
BATCH = 1 << 23
"""Logits of a block for all states that are evaluated at once."""

Groups = tuple[np.ndarray, ...]


class LocalMemory(Denoiser):
    """The exact patch-wise denoiser of training images, which combines parts of different images into new ones.

    It has a denoiser and a score, but no energy and no density (see `dispersed.memories.local`), and cannot be
    conditioned.

    **Arguments**

    - `images`: (n, h, w) or, with channels, (n, h, w, c), finite. The units of states are their entries in this order:
      d = h·w·c, as of `images.reshape(n, -1)`.
    - `patch`: the side of the window in pixels, odd. At the border of the image a window is cut off.
    - `equivariant`: whether a window is compared with the windows of the training images at all places where the border
      cuts off as much of them, so that the denoiser moves with the image, as convolutional networks do; by default it
      is compared with windows of the same place alone. It takes about h·w times as long.

    **Raises** `InputError` for another shape, no or non-finite entries, and an even patch.

    >>> import numpy as np
    >>> stripes = np.array([[[1.0, 1, 1], [-1, -1, -1], [1, 1, 1]]])
    >>> LocalMemory(stripes, 3, equivariant=True)
    LocalMemory(1 images of 3 × 3, patches of 3 × 3, equivariant)
    >>> LocalMemory(np.stack([stripes[0], -stripes[0]]), 1).denoise(np.full(9, 0.5), 0.5).round(2)
    Array([0.96, 0.96, 0.96, 0.96, 0.96, 0.96, 0.96, 0.96, 0.96], dtype=float32)
    """

    images: Float[Array, "n h w c"]
    patch: int = eqx.field(static=True)
    equivariant: bool = eqx.field(static=True)
    channels: bool = eqx.field(static=True)

    def __init__(self, images: ArrayLike, patch: int, *, equivariant: bool = False) -> None:
        array = real_array("images", images)
        if array.ndim not in (3, 4) or 0 in array.shape:
            accepted = "at least one image, shape (n, h, w) or (n, h, w, c), is accepted"
            raise InputError("images", f"got shape {array.shape}", accepted)
        pattern_array(array.reshape(len(array), -1))
        self.channels = array.ndim == 4
        self.images = array if self.channels else array[..., None]
        self.patch = at_least("patch", patch, 1)
        if self.patch % 2 == 0:
            raise InputError("patch", f"got {patch}", "an odd number of pixels, which has a centre, is accepted")
        self.equivariant = bool(equivariant)

    def __repr__(self) -> str:
        n, *shape = self.images.shape
        size = " × ".join(map(str, shape if self.channels else shape[:2]))
        moves = ", equivariant" if self.equivariant else ""
        return f"LocalMemory({n} images of {size}, patches of {self.patch} × {self.patch}{moves})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (h, w) or (h, w, c)."""
        return self.images.shape[1:] if self.channels else self.images.shape[1:3]

    @property
    def dimension(self) -> int:
        return int(np.prod(self.images.shape[1:]))

    def _most_states(self, hook: Any) -> int | None:
        at_once = _block(self._groups, self.images.shape, self.patch) * _logits(self._groups)
        return max(1, BATCH // (at_once * (self.dimension if hook == "_jacobian" else 1)))

    @property
    def _groups(self) -> Groups:
        return _groups(*self.images.shape[1:3], self.patch, self.equivariant)

    def _denoise(self, x: State, sigma: Scalar) -> State:
        image = x.reshape(self.images.shape[1:])
        if x.dtype == jnp.float64:
            return _mean(self.patch, self.equivariant, self.images, image, sigma).reshape(-1)
        return _precise_mean(self.patch, self.equivariant)(self.images, image, sigma).reshape(-1)

    @one_program
    def prior_start(self) -> tuple[State, Scalar]:
        """The mean image, at ten times the images' root-mean-square distance from it."""
        y = self.images.reshape(len(self.images), -1)
        mean = y[0] + jnp.mean(y - y[0], axis=0)
        spread = jnp.sqrt(jnp.mean(jnp.sum((y - mean) ** 2, axis=1)))
        return mean, jnp.where(spread > 0, 10 * spread, 1)


@functools.cache
def _groups(h: int, w: int, patch: int, equivariant: bool) -> Groups:
    """Places (groups, k), of which those in a row are compared with each other, for each size k of such groups."""
    places = np.arange(h * w)
    group = places
    if equivariant:
        reach = patch // 2

        def cut(at: np.ndarray, length: int) -> np.ndarray:
            """By what the two ends of an axis cut off."""
            return np.minimum(at, reach) * (reach + 1) + np.minimum(length - 1 - at, reach)

        cuts = cut(places // w, h) * (reach + 1) ** 2 + cut(places % w, w)
        group = np.unique(cuts, return_inverse=True)[1]
    sizes = np.bincount(group)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
    return tuple(np.stack([own for own in members if len(own) == k]).astype(np.int32) for k in np.unique(sizes))


def _logits(groups: Groups) -> int:
    """The number of pairs of places that are compared."""
    return sum(index.size * index.shape[1] for index in groups)


def _block(groups: Groups, shape: tuple[int, ...], patch: int) -> int:
    """Images at once."""
    n, h, w, c = shape
    entries = h * w * c * min(patch, 2 * h - 1) * min(patch, 2 * w - 1)
    return max(1, min(n, AT_ONCE // max(_logits(groups), entries)))


def windows(images: Float[Array, "b h w c"], patch: int) -> Float[Array, "b places window"]:
    """The window around every place, zero beyond the border."""
    b, h, w, c = images.shape
    tall, wide = min(patch // 2, h - 1), min(patch // 2, w - 1)
    padded = jnp.pad(images, ((0, 0), (tall, tall), (wide, wide), (0, 0)))
    shifts = [(i, j) for i in range(2 * tall + 1) for j in range(2 * wide + 1)]
    return jnp.concatenate([padded[:, i : i + h, j : j + w].reshape(b, h * w, c) for i, j in shifts], axis=-1)


def _mean(
    patch: int, equivariant: bool, images: Float[Array, "n h w c"], x: Float[Array, "h w c"], sigma: Scalar
) -> Float[Array, "h w c"]:
    """D_σ(x) in the precision of its arguments."""
    n, h, w, c = images.shape
    groups = _groups(h, w, patch, equivariant)
    order = np.argsort(np.concatenate([index.reshape(-1) for index in groups])).astype(np.int32)
    size = _block(groups, images.shape, patch)
    blocks = jnp.pad(images, ((0, -n % size), (0, 0), (0, 0), (0, 0))).reshape(-1, size, h, w, c)
    # What images have in common costs digits and cancels: at each place, or at all that are compared with each other.
    centre = jax.lax.stop_gradient(jnp.mean(images, axis=(0, 1, 2) if equivariant else 0))
    own = windows((x - centre)[None], patch)[0]

    @full_precision
    def of_block(so_far: SoftmaxSums, block: tuple[Array, Array]) -> tuple[SoftmaxSums, None]:
        y, start = block
        theirs, centres = windows(y - centre, patch), (y - centre).reshape(size, h * w, c)
        real = start + jnp.arange(size) < n
        parts = []
        for index in groups:
            g, k = index.shape
            a, values = (
                jnp.swapaxes(part[:, index], 0, 1).reshape(g, size * k, part.shape[-1]) for part in (theirs, centres)
            )
            logits = jnp.einsum("gkp,gmp->gkm", own[index], a) - jnp.sum(a * a, -1)[:, None] / 2
            logits = jnp.where(jnp.repeat(real, k), logits / sigma / sigma, -jnp.inf)
            top = jax.lax.stop_gradient(logits.max(axis=-1))
            gap = logits - top[..., None]
            # Computed twice, the largest logit may be rounded twice, and its weight would be no number.
            slack = 8 * float(jnp.finfo(x.dtype).eps) * jnp.abs(top[..., None])
            weight = jnp.exp(gap - jax.lax.stop_gradient(jnp.where(gap >= -slack, gap, 0)))
            total = jnp.einsum("gkm,gmc->gkc", weight, values)
            parts.append((top.reshape(-1), weight.sum(axis=-1).reshape(-1), total.reshape(-1, c)))
        top, mass, total = (jnp.concatenate(part)[order] for part in zip(*parts, strict=True))
        return merge(so_far, SoftmaxSums(top, mass, total, jnp.zeros_like(mass))), None

    starts = size * jnp.arange(len(blocks))
    sums, _ = jax.lax.scan(jax.checkpoint(of_block), empty_sums(h * w, c, x.dtype), (blocks, starts))
    return sums.mean.reshape(h, w, c) + centre


@functools.cache
def _precise_mean(
    patch: int, equivariant: bool, maps: tuple[tuple[int | None, ...], ...] = ()
) -> Callable[[Array, Array, Array], Array]:
    """The same computed in double precision, mapped as `maps` say; its derivatives are in that of the arguments."""
    function: Callable[..., Array] = functools.partial(_mean, patch, equivariant)
    for axes in maps:
        function = jax.vmap(function, axes)

    def wide(*arrays: Array) -> Array:
        with jax.enable_x64(True):
            doubles = (jax.lax.convert_element_type(array, jnp.float64) for array in arrays)
            return jax.lax.convert_element_type(function(*doubles), arrays[0].dtype)

    def mapped(size: int, batched: Any, *arrays: Array) -> Array:
        # A program in double precision must be made as such: mapped later, its products would be in single precision.
        axes = tuple(0 if each else None for each in batched)
        return _precise_mean(patch, equivariant, (*maps, axes))(*arrays)

    def slopes(primals: Any, tangents: Any) -> tuple[Array, Array]:
        pairs = zip(primals, tangents, strict=True)
        given = tuple(jnp.zeros_like(x) if tangent is None else tangent for x, tangent in pairs)
        return precise(*primals), jax.jvp(function, primals, given)[1]

    precise = primitive("local_mean", wide, functools.partial(jax.eval_shape, wide), mapped, slopes)
    return precise
