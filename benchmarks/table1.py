"""The whole of Table 1, as a user waits for it: a fresh process, imports and compilation included."""

import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.timing import show


def main(repeats=3):
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            command = [sys.executable, "-m", "dispersed.cli.main", "reproduce", "table1", "--out", out]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
    row = (f"{statistics.median(times):.1f}", f"{min(times):.1f}", f"{max(times):.1f}")
    show("dispersed reproduce table1, 100 repeats, every method", ["median s", "min", "max"], [row])


if __name__ == "__main__":
    main()
