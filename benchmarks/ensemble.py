"""Many score networks at once: `train_ensemble` beside the same trainings in batched PyTorch.

Needs PyTorch, the optional extra `bench`. Both train the paper's network (three hidden layers of ReLU units, the
signal level told to each) by Adam at 1e-3 on the same loss with fresh, stratified noise in every step, all members in
one program. PyTorch is given its best form: weights stacked for one batched matrix product a layer, the fused Adam,
and the loss compiled. Each lives in a process of its own, for their threads would wait for each other, and they
take turns. The rms held-out error beside the time is that of the trained denoisers on the same cues.
"""

import importlib.util
import itertools
import multiprocessing
import statistics
import time

import numpy as np

from benchmarks.timing import show

SHAPES = (
    # members, width, patterns, draws, steps
    (32, 32, 8, 8, 1000),
    (16, 64, 8, 8, 800),
    (16, 128, 8, 8, 400),
    (8, 256, 9, 16, 150),
    (8, 800, 9, 1, 60),
    (8, 800, 9, 16, 20),
)
UNITS, DEPTH, RATE, LOW, HIGH = 10, 3, 1e-3, 0.02, 2.0
TURNS = 3


def held_out(denoise, members, n):
    """Root mean square of D_σ(y + σε) − y per unit over cues that no training saw."""
    rng = np.random.default_rng(1)
    sigma = np.geomspace(LOW, HIGH, 32, dtype=np.float32).repeat(n)[None, :, None]
    y = np.tile(pattern_sets(members, n), (1, 32, 1))
    z = y + sigma * rng.standard_normal(y.shape, dtype=np.float32)
    return float(np.sqrt(np.mean((np.asarray(denoise(z, np.broadcast_to(sigma, (*y.shape[:2], 1)))) - y) ** 2)))


def pattern_sets(members, n):
    return np.sign(np.random.default_rng(0).standard_normal((members, n, UNITS))).astype(np.float32)


def ours(members, width, n, draws, steps):
    """A function that trains all members once and returns their held-out error."""
    import equinox as eqx
    import jax

    from dispersed.learning import LogUniform, Recipe, noise_network, train_ensemble

    recipe = Recipe(steps, draws=draws, levels=LogUniform(LOW, HIGH))
    sets = pattern_sets(members, n)

    def network(key):
        return noise_network(UNITS, width, DEPTH, key=key)

    def run():
        trained = train_ensemble(sets, recipe, key=jax.random.key(0), network=network, check_every=steps)
        jax.block_until_ready(trained.curve.loss)
        denoise = eqx.filter_vmap(lambda memory, z, sigma: memory.denoise(z, sigma[:, 0]))
        return lambda: held_out(lambda z, sigma: denoise(trained.memories, z, sigma), members, n)

    return run


def torchs(members, width, n, draws, steps, compiled):
    import torch

    torch.manual_seed(0)
    sizes = [UNITS, *[width] * DEPTH, UNITS]
    cues = n * draws
    y = torch.tensor(pattern_sets(members, n)).repeat_interleave(draws, dim=1)
    stratum = (torch.arange(draws) / draws).repeat(n)[None, :, None]

    def network(layers, x, alpha):
        for i, (weight, level_weight, bias) in enumerate(layers):
            x = torch.baddbmm(bias + alpha * level_weight, x, weight)
            x = torch.relu(x) if i < DEPTH else x
        return x

    def loss_of(layers, noise, u):
        sigma = LOW * (HIGH / LOW) ** (stratum + u / draws)
        alpha = torch.rsqrt(1 + sigma**2)
        error = network(layers, alpha * (y + sigma * noise), alpha) - noise
        return 0.5 * (error**2).sum(-1).mean(1).sum()

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def run():
        layers = []
        for inputs, outputs in itertools.pairwise(sizes):
            bound = (inputs + 1) ** -0.5
            shapes = (members, inputs, outputs), (members, 1, outputs), (members, 1, outputs)
            layers.append([((2 * torch.rand(shape) - 1) * bound).requires_grad_() for shape in shapes])
        optimiser = torch.optim.Adam([weight for layer in layers for weight in layer], lr=RATE, fused=True)
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss_of(layers, torch.randn(members, cues, UNITS), torch.rand(members, cues, 1)).backward()
            optimiser.step()

        @torch.no_grad()
        def denoise(z, sigma):
            z, sigma = torch.tensor(z), torch.tensor(sigma)
            alpha = torch.rsqrt(1 + sigma**2)
            return (z - sigma * network(layers, alpha * z, alpha)).numpy()

        return lambda: held_out(denoise, members, n)

    return run


RIVALS = {
    "dispersed": ours,
    "torch": lambda *shape: torchs(*shape, compiled=False),
    "torch, compiled": lambda *shape: torchs(*shape, compiled=True),
}


def serve(connection, name, shape):
    """Train whenever asked to; answer with the seconds it took and the held-out error."""
    run = RIVALS[name](*shape)
    while connection.recv():
        start = time.perf_counter()
        error = run()
        connection.send((time.perf_counter() - start, error()))


def race(shape):
    """First and median warm seconds and held-out error of every rival, which take turns."""
    context = multiprocessing.get_context("spawn")
    children = {}
    for name in RIVALS:
        mine, its = context.Pipe()
        process = context.Process(target=serve, args=(its, name, shape), daemon=True)
        process.start()
        children[name] = (process, mine)
    times = {name: [] for name in RIVALS}
    errors = {}
    for _ in range(1 + TURNS):
        for name, (_, connection) in children.items():
            connection.send(True)
            seconds, errors[name] = connection.recv()
            times[name].append(seconds)
    for process, connection in children.values():
        connection.send(False)
        process.join()
    return {name: (first, statistics.median(warm), errors[name]) for name, (first, *warm) in times.items()}


def main(shapes=SHAPES):
    if importlib.util.find_spec("torch") is None:
        print("benchmarks.ensemble needs PyTorch: pip install 'dispersed[bench]'")
        return
    rows = []
    for shape in shapes:
        members, width, n, draws, steps = shape
        found = race(shape)
        best = min(warm for name, (_, warm, _) in found.items() if name != "dispersed")
        for name, (first, warm, error) in found.items():
            rate = members * steps / warm
            ratio = f"{best / warm:.2f}" if name == "dispersed" else ""
            what = (members, width, n * draws) if name == "dispersed" else ("", "", "")
            rows.append((*what, name, f"{rate:,.0f}", ratio, f"{first - warm:.1f}", f"{error:.3f}"))
    columns = ["members", "width", "cues", "", "network-steps/s", "× best torch", "compile s", "held-out rms"]
    show("Training score networks of 10 units, 3 hidden layers, side by side", columns, rows)


if __name__ == "__main__":
    main()
