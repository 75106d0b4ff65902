"""The exact posterior mean over a million patterns: certified, summed, and by its rivals, error beside time."""

import os
import sys

import numpy as np

from benchmarks import references
from benchmarks.timing import show, side_by_side
from dispersed import PatternMemory, Scanned
from dispersed.engines.candidate_screening import States
from dispersed.engines.full_scan import full_scan

ALPHA = 0.68
CHECKED = 4
"""Cues of each batch whose mean is compared with the reference."""


def main(n=1_000_000, d=64, batches=(1, 16, 64, 256), tol=1e-4, repeats=5, quick=False):
    if quick:
        n, batches, repeats = n // 10, batches[:3], 2
    rng = np.random.default_rng(0)
    patterns = rng.choice(np.float32([-1, 1]), (n, d))
    memory = PatternMemory(patterns, engine=Scanned())
    rivals = {**torch_rivals(patterns), **faiss_rivals(patterns)}
    for sigma in (0.5, float(np.sqrt(1 / ALPHA**2 - 1)), 4.0):
        for b in batches:
            x = patterns[rng.integers(0, n, b)] + sigma * rng.standard_normal((b, d))
            compare(memory, patterns, x, sigma, rivals, tol, repeats if b < 64 else max(2, repeats - 2))


def compare(memory, patterns, x, sigma, rivals, tol, repeats):
    levels = np.full(len(x), sigma)
    ours = {
        "certified": lambda: memory.posterior(x, sigma, tol=tol),
        "sum, float32": lambda: full_scan(memory.held.placed, States.of(memory.held.placed, x, levels), np.float32),
        "sum, float64": lambda: full_scan(memory.held.placed, States.of(memory.held.placed, x, levels), np.float64),
    }
    others = {name: lambda f=f: f(x.astype(np.float32), np.float32(1 / sigma**2)) for name, f in rivals.items()}
    times = side_by_side({**ours, **others}, repeats)
    exact = np.array([references.mean(patterns, row, sigma) for row in x[:CHECKED]])
    fused = [times[name][1] for name in others if name.startswith("torch")]
    flat = [times[name][1] for name in others if name.startswith("FAISS")]
    rows = []
    for name, function in {**ours, **others}.items():
        answer = function()
        mean, bound = (answer.mean, f"{answer.bound.max():.1e}") if name in ours else (answer, "none")
        error = np.abs(mean[:CHECKED] - exact).max()
        warm = times[name][1]
        against = [f"{min(group) / warm:.2f}" if group else "" for group in (fused, flat)]
        path = (
            f"{np.mean(np.asarray(answer.patterns_weighed) < len(memory.patterns)):.0%}" if name == "certified" else ""
        )
        rows.append((name, f"{warm:.3f}", *against, f"{error:.1e}", bound, path))
    columns = ["", "s", "× best torch", "× best FAISS", "max |error|", "certificate", "pruned"]
    title = f"Posterior mean of {len(x)} cues over N = {len(patterns):,} ±1 patterns, d = {x.shape[1]}, σ = {sigma:.3g}"
    show(title, columns, rows)


def torch_rivals(patterns):
    """Softmax attention with the patterns as keys and values; all have one norm, so no bias is needed."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: its attention is left out.")
        return {}
    torch.set_num_threads(os.cpu_count() or 1)
    kv = torch.from_numpy(patterns)
    n, d = patterns.shape

    def plain(x, beta):
        q = torch.from_numpy(x)[None, None] * float(beta)
        return torch.nn.functional.scaled_dot_product_attention(q, kv[None, None], kv[None, None], scale=1.0)[
            0, 0
        ].numpy()

    def in_heads(heads):
        """The keys as `heads` heads, which share the threads whatever the batch, merged by their log-sum-exp."""
        split = kv[: n - n % heads].reshape(1, heads, n // heads, d)

        def run(x, beta):
            q = (torch.from_numpy(x) * float(beta))[None, None].expand(1, heads, -1, d)
            out, mass = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, split, split, scale=1.0)
            share = torch.softmax(mass[0].reshape(heads, len(x)), dim=0)
            return torch.einsum("hb,hbd->bd", share, out[0]).numpy()

        return run

    def products(x, beta, size=1 << 14):
        """Two matrix products a chunk, with a running maximum."""
        q = torch.from_numpy(x) * float(beta)
        top = torch.full((len(x), 1), -torch.inf)
        mass, total = torch.zeros(len(x), 1), torch.zeros(len(x), d)
        for y in kv.split(size):
            logits = q @ y.T
            new = torch.maximum(top, logits.amax(dim=1, keepdim=True))
            share = logits.sub_(new).exp_()
            shrink = torch.exp(top - new)
            mass, total = mass * shrink + share.sum(dim=1, keepdim=True), total * shrink + share @ y
            top = new
        return (total / mass).numpy()

    rivals = {"torch sdpa, as it is": plain, "torch, chunks": products}
    for heads in (os.cpu_count() or 1, 32):
        if n % heads == 0:
            rivals[f"torch sdpa, {heads} heads"] = in_heads(heads)
    return rivals


def faiss_rivals(patterns, k=200):
    """The k best patterns by exhaustive search, and the softmax over them."""
    try:
        import faiss
    except ImportError:
        print("FAISS is not installed: its flat search is left out.")
        return {}
    faiss.omp_set_num_threads(os.cpu_count() or 1)

    def over(index, logits):
        index.add(patterns)

        def run(x, beta):
            value, best = index.search(x, k)
            share = logits(value) * beta
            share = np.exp(share - share.max(axis=1, keepdims=True))
            return np.einsum("bk,bkd->bd", share / share.sum(axis=1, keepdims=True), patterns[best])

        return run

    d = patterns.shape[1]
    return {
        f"FAISS IP, k = {k}": over(faiss.IndexFlatIP(d), lambda precise_product: precise_product),
        f"FAISS L2, k = {k}": over(faiss.IndexFlatL2(d), lambda square: -square / 2),
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
