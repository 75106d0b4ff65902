"""Memory, network and seconds for 10⁹ patterns of 64 units on a cluster of GPUs, on paper.

The formulas are those of docs/storage.md, which holds what `python -m benchmarks.plan` prints. Rates are those of data
sheets: a real pass reaches a part of them.
"""

from dataclasses import dataclass

from dispersed.storage import ENCODINGS

N, D = 10**9, 64
DECODE = {"float32": 0, "float16": 1, "int8": 2, "bits": 4}
"""Operations a unit: nothing; convert; convert and scale; shift, mask, convert, multiply-add."""


@dataclass(frozen=True)
class Device:
    name: str
    memory: float  # bytes
    bandwidth: float  # bytes/s
    arithmetic: float  # float32 operations/s


DEVICES = (Device("A100 80 GB", 80e9, 2.04e12, 19.5e12), Device("H100 SXM", 80e9, 3.35e12, 67e12))
DISK, LINK = 7e9, 55e9  # bytes/s: an NVMe disk of a host; a device's PCIe 5.0 x16
NETWORK, LATENCY = 25e9, 10e-6  # bytes/s and s between hosts: 200 Gbit/s


def scan(encoding, device, devices, cues):
    """Seconds of one pass: what is slower, the patterns' way from memory or the arithmetic on them."""
    moved = N * encoding.row_bytes(D) / (devices * device.bandwidth)
    computed = (DECODE[encoding.name] + 4 * cues) * N * D / (devices * device.arithmetic)
    return max(moved, computed)


def balance(encoding, device):
    """Cues from which the arithmetic is slower."""
    return (device.arithmetic / device.bandwidth * encoding.row_bytes(D) / D - DECODE[encoding.name]) / 4


def combine(hosts, cues):
    """Bytes of the triples of all cues, and seconds to combine them over a tree of hosts."""
    nbytes = 4 * (D + 2) * cues
    return nbytes, (hosts - 1).bit_length() * (LATENCY + nbytes / NETWORK)


def short(value):
    """Two digits, without an exponent."""
    return f"{float(f'{value:.2g}'):g}"


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def main():
    rows = []
    for encoding in ENCODINGS.values():
        nbytes = N * encoding.row_bytes(D)
        fits = max(1, -(-nbytes // int(0.75 * 80e9)))
        shares = [f"{nbytes / devices / 1e9:.3g}" for devices in (8, 64)]
        load = [short(nbytes / 8 / DISK), short(nbytes / 64 / LINK)]
        rows.append((encoding.name, encoding.row_bytes(D), f"{nbytes / 1e9:.0f}", *shares, fits, *load))
    columns = ["encoding", "r, bytes a pattern", "N r, GB", "GB a device, G = 8", "G = 64", "fewest devices of 80 GB"]
    print(table([*columns, "s from 8 disks", "s over 64 links"], rows))
    rows = []
    for device in DEVICES:
        for encoding in ENCODINGS.values():
            times = [short(1e3 * scan(encoding, device, g, b)) for g in (8, 64) for b in (1, 16, 64, 256)]
            rows.append((device.name, encoding.name, short(max(0, balance(encoding, device))), *times))
    columns = [f"G = {g}, b = {b}" for g in (8, 64) for b in (1, 16, 64, 256)]
    print(table(["device", "encoding", "b*", *columns], rows))
    rows = []
    for cues in (1, 16, 64, 256):
        times = [f"{1e6 * combine(hosts, cues)[1]:.0f}" for hosts in (2, 8, 64)]
        rows.append((cues, f"{combine(2, cues)[0]:,}", *times))
    print(table(["b", "bytes a host", "µs, P = 2", "P = 8", "P = 64"], rows))


if __name__ == "__main__":
    main()
