"""How cost and memory grow with the number of patterns: N = 10⁴ to 10⁷, mapped from a file, each in a fresh process."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import show

D, CUES, ALPHA, TOL = 64, 16, 0.8, 1e-4
MIB = 1 << 20


def main(quick=False, encodings=("float16", "bits")):
    sizes = (10**4, 10**5, 10**6) if quick else (10**4, 10**5, 10**6, 10**7)
    for encoding in encodings:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "patterns.safetensors")
            for n in sizes:
                write(path, n, encoding)
                command = [sys.executable, "-m", "benchmarks.growth", str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                rows.append((n, json.loads(done.stdout)))
        report(encoding, rows)


def write(path, n, encoding):
    from dispersed.storage import encoding_named, save_patterns

    rng = np.random.default_rng(0)
    size = 1 << 16
    batches = (rng.choice(np.float32([-1, 1]), (min(size, n - start), D)) for start in range(0, n, size))
    save_patterns(path, batches, encoding_named(encoding))


def report(encoding, rows):
    columns = ["N", "file MiB", "sum s", "screen s", "mean s", "recall s", "in sums", "screens", "sums", "proven"]
    columns += ["right", "anon. MiB", "peak MiB"]
    table = [
        (
            f"{n:.0e}",
            f"{r['file'] / MIB:,.0f}",
            *(f"{r[k]:.3f}" for k in ("sum", "screen", "posterior", "recall")),
            f"{r['recall'] / r['sum']:.2f}",
            f"{r['screens']:.2f}",
            f"{r['sums']:.2f}",
            r["certified"],
            r["right"],
            f"{r['anonymous'] / MIB:,.0f}",
            f"{r['resident'] / MIB:,.0f}",
        )
        for n, r in rows
    ]
    show(f"{encoding} patterns on a disk, d = {D}, {CUES} cues at α = {ALPHA}, tol = {TOL:g}", columns, table)
    # Below 10⁵ patterns, what a call costs in itself shows.
    large = [(n, r) for n, r in rows if n >= 10**5]
    for key in ("sum", "recall"):
        slope = np.polyfit(*np.log([(n, r[key]) for n, r in large]).T, 1)[0]
        print(f"{key}: seconds grow as N^{slope:.2f} from N = 10⁵ on")
    print(flush=True)


class Peak(threading.Thread):
    """The most anonymous memory that this process has had: what a file that is mapped does not count to."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most = 0
        self.start()

    def run(self):
        while True:
            self.most = max(self.most, memory("RssAnon"))
            time.sleep(0.01)


def memory(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def child(path):
    """Everything that is measured of one file, as JSON."""
    from benchmarks.timing import seconds
    from dispersed import PatternMemory, Scanned, recall
    from dispersed.dynamics import CertifiedFlow
    from dispersed.engines.candidate_screening import States, allowed_tail, screen
    from dispersed.engines.full_scan import full_scan
    from dispersed.storage import open_patterns

    peak = Peak()
    storage = open_patterns(path)
    stored = PatternMemory(storage, engine=Scanned(TOL))
    rng = np.random.default_rng(1)
    source = rng.integers(0, len(storage), CUES)
    cues = ALPHA * storage.rows(source) + np.sqrt(1 - ALPHA**2) * rng.standard_normal((CUES, D))
    cues = cues.astype(np.float32)
    z, sigma = cues / ALPHA, np.full(CUES, np.sqrt(1 / ALPHA**2 - 1))
    placed = stored.held.placed
    share, most = allowed_tail(placed, TOL), placed.options.most_candidates(len(storage))

    def gather():
        return recall(stored, cues, CertifiedFlow(tol=TOL), alpha=ALPHA)

    timed = {
        "sum": lambda: full_scan(placed, States.of(placed, z, sigma), np.float32),
        "screen": lambda: screen(placed, States.of(placed, z, sigma), share, most),
        "posterior": lambda: stored.posterior(z, sigma),
        "recall": gather,
    }
    measured = {name: seconds(function, 3)[1] for name, function in timed.items()}
    result = gather()
    proof = result.certificate
    measured |= {
        "file": storage.nbytes,
        "screens": float(np.mean(proof.screens)),
        "sums": float(np.mean(proof.sums)),
        "certified": int(np.sum(proof.certified)),
        "right": int(np.sum(np.asarray(result.index) == source)),
        "anonymous": max(peak.most, memory("RssAnon")),
        "resident": memory("VmHWM"),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if arguments:
        child(arguments[0])
    else:
        main(quick="--quick" in sys.argv)
