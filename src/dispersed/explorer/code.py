"""What is on the screen, written down as Python that runs."""

from typing import Any

from dispersed.explorer.digits import read_damage
from dispersed.explorer.landscape import RECALLS
from dispersed.explorer.scene import CORES, SEPARATIONS, Item, Scene, blob_factor
from dispersed.names import BUILTIN

PROCESSES = {"vp": "VP()", "ve": "VE()"}


def landscape_code(scene: Scene, cue: tuple[float, float] | None, names: list[str], seed: int) -> str:
    """A script with the memory of the scene, its landscape, and recall of the cue by the chosen dynamics."""
    lines = [
        "import jax",
        "import jax.numpy as jnp",
        "import matplotlib.pyplot as plt",
        "",
        "import dispersed",
        "",
        *(_network(scene) if scene.is_network else [*_memory(scene), f"sigma = {scene.sigma!r}"]),
        "",
        "axis = jnp.linspace(-2, 2, 200)",
        "grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1)",
        *_surface(scene),
        "figure, plane = plt.subplots()",
        'plane.contourf(axis, axis, energy - jnp.nanmin(energy), levels=21, cmap="Blues_r")',
        'plane.quiver(*jnp.moveaxis(sites, -1, 0), *jnp.moveaxis(step, -1, 0), angles="xy")',
    ]
    if cue is not None and names and scene.is_network:
        lines += [
            "",
            f"z = jnp.array([{cue[0]!r}, {cue[1]!r}])",
            "print(memory.responsibilities(z))",
            "recalled = {",
            *(f'    "{name}": dispersed.recall(memory, z, {_call(name)}, trajectory=True),' for name in names),
            "}",
            "for name, result in recalled.items():",
            "    print(name, result.x, result)",
            '    plane.plot(*result.trajectory.T, color="C1")',
        ]
    elif cue is not None and names:
        lines += [
            "",
            f"process = dispersed.{PROCESSES[scene.process]}",
            f"z = jnp.array([{cue[0]!r}, {cue[1]!r}])",
            "cue = process.scale_at(jnp.asarray(sigma)) * z  # x = s(t) z",
            "print(memory.responsibilities(z, sigma))",
            "recalled = {}",
        ]
        for name in names:
            many = f"jnp.broadcast_to(cue, ({RECALLS}, 2))" if name == "sde" else "cue"
            key = f", key=jax.random.key({seed})" if name == "sde" else ""
            lines += [
                f'recalled["{name}"] = dispersed.recall(',
                f"    memory, {many}, {_call(name)}, sigma=sigma, process=process{key}, trajectory=True",
                ")",
            ]
        lines += [
            "for name, result in recalled.items():",
            '    print(name, result.x if result.x.ndim == 1 else f"{len(result.x)} recalls", result)',
            "    states = result.trajectory / process.scale_at(result.sigmas)[..., None]",
            '    plane.plot(*jnp.moveaxis(states.reshape(-1, *states.shape[-2:]), -1, 0).swapaxes(1, 2), color="C1")',
        ]
    return "\n".join([*lines, 'figure.savefig("landscape.png")', ""])


def digit_code(given: Any) -> str:
    """A script that damages the digit, recalls it, and lists what it may have been."""
    damage = read_damage(given)
    index, alpha, seed, missing, name = damage.index, damage.alpha, damage.seed, damage.missing, damage.dynamics
    lines = [
        "import jax",
        "import jax.numpy as jnp",
        "",
        "import dispersed",
        "from dispersed.datasets import load_digits",
        "",
        "patterns, labels = load_digits()",
        "memory = dispersed.PatternMemory(patterns)",
        "for_noise, for_recall = jax.random.split(jax.random.key(" + str(seed) + "))",
        f"alpha = {alpha!r}",
        "sigma = dispersed.sigma_from_alpha(alpha)",
    ]
    if missing:
        lines += [
            f"known = jnp.ones(64, dtype=bool).at[jnp.array({missing})].set(False)",
            f"cue = dispersed.VE().corrupt(patterns[{index}], alpha=alpha, key=for_noise)  # y + σε",
            f"dynamics = {_call(name)}",
            "result = dispersed.recall(memory, cue, dynamics, alpha=alpha, known=known, key=for_recall)",
            "observation = dispersed.Observation(cue, mask=known, sigma=sigma)",
            "posterior = dispersed.condition(memory, observation).weights",
        ]
    else:
        lines += [
            f"cue = dispersed.VP().corrupt(patterns[{index}], alpha=alpha, key=for_noise)  # αy + √(1−α²)ε, Eq. 26",
            f"dynamics = {_call(name)}",
            "result = dispersed.recall(memory, cue, dynamics, alpha=alpha, key=for_recall)",
            "posterior = memory.responsibilities(cue / alpha, sigma)  # Eq. 29",
        ]
    lines += [
        'print(f"a {labels[result.index]}: image {result.index}, p(image | cue) = {result.probability:.3f}")',
        "for j in jnp.argsort(-posterior)[:6]:",
        '    print(f"p = {posterior[j]:.3f}: image {j}, a {labels[j]}")',
        "entropy = jax.scipy.special.entr(posterior).sum()",
        'print(f"entropy {entropy:.2f} nats, as if {jnp.exp(entropy):.1f} images were equally likely")',
        "print(result.x.reshape(8, 8).round(1))",
    ]
    return "\n".join([*lines, ""])


def _call(name: str) -> str:
    """The call that makes a dynamics, by its name in the library."""
    return f"dispersed.{BUILTIN[name].class_name}()"


def _surface(scene: Scene) -> list[str]:
    """The surface that is drawn, and the steps of the iteration over it."""
    sites = "sites = grid[::10, ::10]"
    if not scene.is_network:
        return [
            "energy = memory.energy(grid, sigma)  # −σ² log p_σ(x), Eq. 11",
            sites,
            "step = memory.denoise(sites, sigma) - sites  # D_σ(x) − x = −∇E_σ(x)",
        ]
    height = "energy = memory.energy(grid)"
    if scene.kind == "epanechnikov":
        height = "energy = jnp.where((energy := memory.energy(grid)) < 1e38, energy, jnp.nan)  # infinite out of reach"
    if scene.kind == "universal" and scene.similarity != "euclidean":
        height = (
            "energy = jnp.linalg.norm(memory.update(grid) - grid, axis=-1)  # no energy is known: 0 at fixed points"
        )
    return [height, sites, "step = memory.update(sites) - sites"]


def _network(scene: Scene) -> list[str]:
    ((name, value),) = SEPARATIONS[scene.separation].items()
    made = {
        "modern": "ModernHopfield(patterns, beta)",
        "epanechnikov": "EpanechnikovHopfield(patterns, beta)",
        "fenchel-young": f"FenchelYoungHopfield(patterns, beta, {name}={value!r})",
        "universal": f'UniversalHopfield(patterns, "{scene.similarity}", separation)',
    }[scene.kind]
    separation = f"separation = dispersed.{'Normmax' if name == 'gamma' else 'Entmax'}({value!r}, beta)"
    return [
        *_patterns(scene.of("pattern")),
        f"beta = {scene.beta!r}",
        *([separation] if scene.kind == "universal" else []),
        f"memory = dispersed.{made}",
    ]


def _memory(scene: Scene) -> list[str]:
    if scene.kind in ("points", "smoothed"):
        stored = _patterns(scene.of("pattern"))
        if scene.kind == "points":
            return [*stored, f"memory = dispersed.PatternMemory(patterns{_weights(scene.of('pattern'))})"]
        inner = f"dispersed.PatternMemory(patterns{_weights(scene.of('pattern'))})"
        return [*stored, f"memory = dispersed.Smoothed({inner}, bandwidth={scene.bandwidth!r})"]
    if scene.kind == "reconstructive":
        blobs, events = scene.of("blob"), scene.of("event")
        a, b = CORES[scene.core]
        return [
            *_mixture("semantic", blobs),
            f"encoder = jnp.array([[{a!r}, {b!r}]])  # the core of y is A y",
            "events = jnp.array([",
            *(f"    [{item.at[0]!r}, {item.at[1]!r}]," for item in events),
            "])",
            "memory = dispersed.ReconstructiveMemory(",
            f"    semantic, encoder, events @ encoder.T{_weights(events)}, noise={scene.precision!r}",
            ")",
        ]
    return _mixture("memory", scene.remembered)


def _patterns(items: list[Item]) -> list[str]:
    rows = [f"    [{item.at[0]!r}, {item.at[1]!r}]," for item in items]
    return ["patterns = jnp.array([", *rows, "])"]


def _mixture(name: str, items: list[Item]) -> list[str]:
    parts = [f"        {_component(item)}," for item in items]
    return [f"{name} = dispersed.Mixture(", "    [", *parts, f"    ]{_weights(items)}", ")"]


def _weights(items: list[Item]) -> str:
    """The prior as an argument, left out where it is uniform."""
    weights = [item.weight for item in items]
    return "" if len(set(weights)) == 1 else f", weights=jnp.array({weights})"


def _component(item: Item) -> str:
    (x, y), (dx, dy) = item.at, item.reach
    if item.shape == "segment":
        return f"dispersed.Segment([{x - dx!r}, {y - dy!r}], [{x + dx!r}, {y + dy!r}])"
    if item.shape == "circle":
        return f"dispersed.Sphere([{x!r}, {y!r}], {(dx**2 + dy**2) ** 0.5!r})"
    if item.shape == "box":
        low, high = (x - abs(dx), y - abs(dy)), (x + abs(dx), y + abs(dy))
        return f"dispersed.Box([{low[0]!r}, {low[1]!r}], [{high[0]!r}, {high[1]!r}])"
    return f"dispersed.GaussianMemory([{x!r}, {y!r}], {blob_factor(item.reach).tolist()!r})"
