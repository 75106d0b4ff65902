"""What is on the screen: a memory made of things that can be dragged, a process and a noise level.

Every kind of memory is filled up to a fixed number of parts with parts of weight zero, which changes no value and
lets one compiled program serve however many there are. Patterns of a network have no weights: those that fill it up
have −∞ as the log weight of their product with a state, or are too far away to act.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.memories import (
    AssociativeMemory,
    Box,
    Entmax,
    EpanechnikovHopfield,
    FenchelYoungHopfield,
    GaussianMemory,
    Memory,
    Mixture,
    ModernHopfield,
    Network,
    Normmax,
    PatternMemory,
    ReconstructiveMemory,
    Segment,
    Smoothed,
    Sphere,
    UniversalHopfield,
)
from dispersed.noise import alpha_from_sigma, beta_from_sigma, sigma_from_alpha, sigma_from_beta
from dispersed.processes import VE, VP, Process
from dispersed.validation import InputError

REACH = 2.0
"""The landscape is [−2, 2]²."""
LEAST, MOST = 0.05, 2.0
"""The noise levels that the sliders reach."""
ROOM = {"pattern": 24, "segment": 4, "circle": 4, "box": 4, "blob": 4, "event": 8}
"""How many parts of each shape a memory has room for."""
BEYOND = 1e4
"""Where a pattern has no weight in any state on the plane, whatever the temperature."""
SHAPES = {
    "points": ("pattern",),
    "extended": ("segment", "circle", "box", "blob"),
    "smoothed": ("pattern",),
    "gaussians": ("blob",),
    "reconstructive": ("blob", "event"),
    "modern": ("pattern",),
    "epanechnikov": ("pattern",),
    "fenchel-young": ("pattern",),
    "universal": ("pattern",),
}
"""The shapes that each kind of memory is made of."""
NETWORKS = ("modern", "epanechnikov", "fenchel-young", "universal")
"""The kinds that have a temperature of their own, β = 1/σ², and neither a process nor weights."""
SEPARATIONS = {
    "softmax": {"alpha": 1.0},
    "entmax": {"alpha": 1.5},
    "sparsemax": {"alpha": 2.0},
    "normmax": {"gamma": 2.0},
}
"""The separations of a network, and what makes them."""
SIMILARITIES = ("euclidean", "cosine", "manhattan")
"""The similarities of a universal network; `dot` is that of the Fenchel–Young network."""
CORES = {"x1": (1.0, 0.0), "x2": (0.0, 1.0), "sum": (0.6, 0.8)}
"""The directions A of which a reconstructive memory stores the core A y."""
PROCESSES: dict[str, Callable[[], Process]] = {"vp": VP, "ve": VE}


@dataclass(frozen=True)
class Item:
    """One thing on the plane: where it is, how far it reaches from there, and its prior weight."""

    shape: str
    at: tuple[float, float]
    reach: tuple[float, float]
    weight: float


@dataclass(frozen=True)
class Scene:
    """The memory, the process and the noise level on the screen."""

    kind: str
    items: tuple[Item, ...]
    process: str
    sigma: float
    bandwidth: float
    core: str
    precision: float
    separation: str
    similarity: str

    @property
    def is_network(self) -> bool:
        """Whether it has a temperature of its own instead of a noise level."""
        return self.kind in NETWORKS

    @property
    def noise(self) -> tuple[jax.Array, ...]:
        """The noise level, as the memory's methods take it: none of a network."""
        return () if self.is_network else (jnp.float32(self.sigma),)

    @property
    def beta(self) -> float:
        """The inverse temperature of a network."""
        return 1 / self.sigma**2

    def at(self, sigma: float) -> "Scene":
        """The same at another level."""
        return replace(self, sigma=sigma)

    def of(self, shape: str) -> list[Item]:
        """The items of one shape."""
        return [item for item in self.items if item.shape == shape]

    @property
    def remembered(self) -> list[Item]:
        """The items that responsibilities are about, in their order."""
        shapes = ("event",) if self.kind == "reconstructive" else SHAPES[self.kind]
        return [item for shape in shapes for item in self.of(shape)]

    def slots(self) -> np.ndarray:
        """Where each of `remembered` stands among the parts of the filled-up memory."""
        shapes = ("event",) if self.kind == "reconstructive" else SHAPES[self.kind]
        starts = np.cumsum([0] + [ROOM[shape] for shape in shapes])
        parts = [start + np.arange(len(self.of(shape))) for start, shape in zip(starts, shapes, strict=False)]
        return np.concatenate(parts)

    def memory(self) -> AssociativeMemory:
        """The memory, filled up with parts of weight zero."""
        return _BUILDERS[self.kind](self)


def read_scene(given: Any) -> Scene:
    """The scene that a page describes; `InputError` in one line where it makes none."""
    scene = mapping("scene", given)
    kind = choice("kind", scene.get("kind"), SHAPES)
    raw = scene.get("items")
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise InputError("items", f"got {raw!r:.60}", "a list of at least one item is accepted")
    room = sum(ROOM[shape] for shape in SHAPES[kind])
    if len(raw) > room:
        raise InputError("items", f"got {len(raw)}", f"at most {room} are accepted")
    items = tuple(_item(entry, SHAPES[kind]) for entry in raw)
    for shape in SHAPES[kind]:
        count = sum(item.shape == shape for item in items)
        if count > ROOM[shape]:
            raise InputError("items", f"got {count} of shape {shape}", f"at most {ROOM[shape]} are accepted")
    needed = {"reconstructive": ("blob", "event")}.get(kind, ())
    for shape in needed:
        if not any(item.shape == shape for item in items):
            raise InputError("items", f"got no {shape}", f"a reconstructive memory needs at least one {shape}")
    remembered = [item for item in items if kind != "reconstructive" or item.shape == "event"]
    if not any(item.weight > 0 for item in remembered):
        raise InputError("weight", "got only zeros", "at least one item must have a weight above 0")
    if kind in NETWORKS and any(item.weight != 1 for item in items):
        raise InputError("weight", "got one for a network", "patterns of weight 1 are accepted")
    # States of a network are not scaled by any process.
    clocks = ("ve",) if kind in NETWORKS else tuple(PROCESSES)
    process = choice("process", scene.get("process", clocks[0]), clocks)
    return Scene(
        kind,
        items,
        process,
        read_level(scene.get("level"), PROCESSES[process]()),
        number("bandwidth", scene.get("bandwidth", 0.3), 0.01, 2),
        choice("core", scene.get("core", "x1"), CORES),
        number("precision", scene.get("precision", 0.05), 0.01, 1),
        choice("separation", scene.get("separation", "softmax"), SEPARATIONS),
        choice("similarity", scene.get("similarity", "manhattan"), SIMILARITIES),
    )


def read_level(given: Any, process: Process, least: float = LEAST, most: float = MOST) -> float:
    """The σ of a noise level that is given as exactly one of sigma, alpha, beta and t."""
    level = mapping("level", given)
    if len(level) != 1 or not set(level) <= {"sigma", "alpha", "beta", "t"}:
        raise InputError("level", f"got {sorted(level)!r:.60}", "exactly one of sigma, alpha, beta and t is accepted")
    ((name, raw),) = level.items()
    value = number(name, raw, 0, 1e9)
    if name == "t" and value == 0:
        raise InputError("t", "got 0", "times above 0 are accepted")
    sigma_from: dict[str, Callable[[Any], Any]] = {
        "sigma": lambda sigma: sigma,
        "alpha": sigma_from_alpha,
        "beta": sigma_from_beta,
        "t": lambda t: process.sigma(jnp.asarray(t)),
    }
    # A slider's end may miss the limit by round-off.
    sigma = float(sigma_from[name](value))
    if not least * (1 - 1e-3) <= sigma <= most * (1 + 1e-3):
        raise InputError(name, f"got {value:g}, which is σ = {sigma:g}", f"σ from {least:g} to {most:g} is accepted")
    return min(max(sigma, least), most)


def levels(sigma: float, process: Process) -> dict[str, float]:
    """The noise level by all of its names."""
    return {
        "sigma": sigma,
        "alpha": float(alpha_from_sigma(sigma)),
        "beta": float(beta_from_sigma(sigma)),
        "t": float(process.time(jnp.asarray(sigma))),
    }


def mapping(argument: str, given: Any) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(given, Mapping):
        raise InputError(argument, f"got {given!r:.60}", "an object is accepted")
    return given


def number(argument: str, given: Any, least: int | float, most: int | float) -> float:
    """A JSON number within limits."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        raise InputError(argument, f"got {given!r:.60}", f"numbers from {least:g} to {most:g} are accepted")
    return float(given)


def whole(argument: str, given: Any, least: int, most: int) -> int:
    """A whole JSON number within limits."""
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise InputError(argument, f"got {given!r:.60}", f"whole numbers from {least} to {most} are accepted")
    return given


def choice(argument: str, given: Any, accepted: Mapping[str, Any] | Sequence[str]) -> str:
    """One of some names."""
    if not isinstance(given, str) or given not in accepted:
        raise InputError(argument, f"got {given!r:.60}", f"{', '.join(accepted)} are accepted")
    return given


def pair(argument: str, given: Any, limit: int | float) -> tuple[float, float]:
    """Two JSON numbers, neither beyond ±limit."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise InputError(argument, f"got {given!r:.60}", "two numbers are accepted")
    return number(argument, given[0], -limit, limit), number(argument, given[1], -limit, limit)


def _item(given: Any, shapes: Sequence[str]) -> Item:
    entry = mapping("items", given)
    return Item(
        choice("shape", entry.get("shape"), shapes),
        pair("at", entry.get("at"), 2 * REACH),
        pair("reach", entry.get("reach", (0, 0)), 2 * REACH),
        number("weight", entry.get("weight", 1), 0, 1e6),
    )


def blob_factor(reach: Sequence[float]) -> np.ndarray:
    """A blob's factor: one standard deviation is its reach, the other, across, half as long."""
    dx, dy = reach
    return np.array([[dx, -dy / 2], [dy, dx / 2]])


def component(item: Item) -> Memory:
    """The memory that one extended item is."""
    at, reach = np.array(item.at), np.array(item.reach)
    makers: dict[str, Callable[[], Memory]] = {
        "segment": lambda: Segment(at - reach, at + reach),
        "circle": lambda: Sphere(at, float(np.hypot(*reach))),
        "box": lambda: Box(at - np.abs(reach), at + np.abs(reach)),
        "blob": lambda: GaussianMemory(at, blob_factor(item.reach)),
    }
    return makers[item.shape]()


def _filled(items: list[Item], shape: str) -> tuple[list[Item], list[float]]:
    """Items, and their weights, up to the room for their shape; what fills up weighs nothing."""
    empty = ROOM[shape] - len(items)
    filling = items[0] if items else Item(shape, (0.0, 0.0), (0.5, 0.0), 0.0)
    return items + [filling] * empty, [item.weight for item in items] + [0.0] * empty


def _pattern_memory(scene: Scene) -> PatternMemory:
    items, weights = _filled(scene.of("pattern"), "pattern")
    return PatternMemory(np.array([item.at for item in items]), np.array(weights))


def _mixture(scene: Scene, shapes: Sequence[str]) -> Mixture:
    filled = [_filled(scene.of(shape), shape) for shape in shapes]
    return Mixture(
        [component(item) for items, _ in filled for item in items],
        np.array([weight for _, weights in filled for weight in weights]),
    )


def _reconstructive(scene: Scene) -> ReconstructiveMemory:
    events, weights = _filled(scene.of("event"), "event")
    encoder = np.array([CORES[scene.core]])
    cores = np.array([event.at for event in events]) @ encoder.T
    # Its constructor compiles a program of its own; conditioning a few Gaussians is faster without one.
    with jax.disable_jit():
        return ReconstructiveMemory(_mixture(scene, ("blob",)), encoder, cores, np.array(weights), scene.precision)


def _products(scene: Scene, make: Callable[[np.ndarray], Any]) -> Network:
    """A network of scores that are products, in which patterns that fill it up have −∞ as their log weight."""
    items, _ = _filled(scene.of("pattern"), "pattern")
    network = make(np.array([item.at for item in items]))
    unused = np.arange(len(items)) >= len(scene.of("pattern"))
    return eqx.tree_at(lambda one: one.held.log_weights, network, jnp.where(unused, -jnp.inf, 0.0))


def _distances(scene: Scene) -> np.ndarray:
    """Patterns of a network of scores that are distances, filled up with some beyond the reach of all others."""
    items = scene.of("pattern")
    return np.array([item.at for item in items] + [(BEYOND, BEYOND)] * (ROOM["pattern"] - len(items)))


def _universal(scene: Scene) -> Network:
    settings: dict[str, Any] = SEPARATIONS[scene.separation]
    separation = (Normmax if "gamma" in settings else Entmax)(**settings, beta=scene.beta)
    if scene.similarity == "manhattan":
        return UniversalHopfield(_distances(scene), scene.similarity, separation)
    return _products(scene, lambda patterns: UniversalHopfield(patterns, scene.similarity, separation))


def _fenchel_young(scene: Scene) -> Network:
    settings: dict[str, Any] = SEPARATIONS[scene.separation]
    return _products(scene, lambda patterns: FenchelYoungHopfield(patterns, scene.beta, **settings))


_BUILDERS: dict[str, Callable[[Scene], AssociativeMemory]] = {
    "points": _pattern_memory,
    "extended": lambda scene: _mixture(scene, SHAPES["extended"]),
    "smoothed": lambda scene: Smoothed(_pattern_memory(scene), scene.bandwidth),
    "gaussians": lambda scene: _mixture(scene, SHAPES["gaussians"]),
    "reconstructive": _reconstructive,
    "modern": lambda scene: _products(scene, lambda patterns: ModernHopfield(patterns, scene.beta)),
    "epanechnikov": lambda scene: EpanechnikovHopfield(_distances(scene), scene.beta),
    "fenchel-young": _fenchel_young,
    "universal": _universal,
}
