"""Random requests at the explorer: bodies, headers, hosts, clients that leave.

`python -m tests.explorer.fuzz [COUNT]` sends 5,000 to a server of its own and counts what came back: it fails on a
status of 500, on an answer that takes over 10 s, on a traceback, and on a page that does not come.
"""

import argparse
import collections
import contextlib
import io
import json
import logging
import random
import socket
import sys
import time

from tests.explorer.conftest import serving

PATIENCE = 10
"""Seconds that any answer may take."""
SCENE = {"kind": "points", "items": [{"shape": "pattern", "at": [0.5, 0.2]}], "level": {"sigma": 0.4}}
NETWORK = SCENE | {"kind": "modern", "separation": "sparsemax", "similarity": "cosine"}
QUESTIONS = [
    ("landscape", {"scene": SCENE, "cue": [0.1, 0.2], "field": "score"}),
    ("recall", {"scene": SCENE, "cue": [0.1, 0.2], "dynamics": ["iteration", "exponential"], "seed": 3}),
    ("attractors", {"scene": SCENE}),
    ("landscape", {"scene": NETWORK, "cue": [0.1, 0.2]}),
    ("recall", {"scene": NETWORK, "cue": [0.1, 0.2], "dynamics": ["iteration"]}),
    ("code", {"tab": "landscape", "scene": SCENE, "cue": [0.1, 0.2], "dynamics": ["sde"]}),
    ("digits", {}),
    ("digit", {"index": 5, "alpha": 0.7, "missing": [1, 2], "dynamics": "one-step"}),
]
VALUES = [
    *(None, True, False, 0, -1, 1, 3.7, 1e-320, 1e308, -1e308, 10**400, "", "x" * 300, "\u0000\ud800", "ve", "sde"),
    *([], [[]], {}, {"at": []}, [0] * 70, ["sde"] * 400, ["iteration", "iteration"], list(range(64)), [1e9, 1e9]),
    *(
        {"sigma": 0.05},
        {"beta": 1e9},
        {"t": 0},
        {"alpha": 1},
        "circle",
        "blob",
        "extended",
        "epanechnikov",
        "manhattan",
        [0.2, 0.1],
        2**31,
        2**63,
    ),
]
HOSTS = [
    *("127.0.0.1/evil.com", "127.0.0.1@evil.com", "evil.com#127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "[::1", "["),
    *("[::1]evil.com", "[127.0.0.1]", "::1", "[fe80::1%25lo]", "127.0.0.1.evil.com", "localhost.evil.com", "", ":80"),
    *(
        "0",
        "127.1",
        "2130706433",
        "127.0.0.1, evil.com",
        "\xb2",
        "a" * 5000,
        "localhost\\evil.com",
        "localhost?x",
        "0.0.0.0",
    ),
]
ORIGINS = [
    *("http://[", "http://[::1", "null", "http://evil.com", "http://a b", "file://", "//", "", "http://127.0.0.1/"),
    "h" * 5000,
]
HEADERS = [
    "Content-Length: -1",
    "Content-Length: 9",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "X: \xff",
]


def mutated(value, rng):
    """The same question with some parts replaced, added or left out."""
    if rng.random() < 0.15:
        return rng.choice(VALUES)
    if isinstance(value, dict):
        changed = {key: mutated(part, rng) for key, part in value.items() if rng.random() > 0.03}
        return changed | ({str(rng.choice(VALUES))[:50]: rng.choice(VALUES)} if rng.random() < 0.05 else {})
    if isinstance(value, list):
        return [mutated(part, rng) for part in value] * rng.choice([1, 1, 1, 1, 2, 30])
    return value


def body(question, rng):
    if rng.random() < 0.1:
        return rng.choice(
            [
                b"",
                b"{",
                b"[" * 100_000,
                b"\xff\xfe{",
                b"NaN",
                b'{"scene": Infinity}',
                b" " * 300_000,
                rng.randbytes(200),
            ]
        )
    text = json.dumps(mutated(question, rng)).encode()
    if rng.random() < 0.15:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.randbytes(rng.randrange(4)) + text[at + rng.randrange(4) :]
    return text


def request(port, rng):
    """The bytes of one request, and whether its client leaves before the answer."""
    name, question = rng.choice(QUESTIONS)
    path = (
        f"/api/{name}"
        if rng.random() < 0.9
        else rng.choice(["/", "/page/..%2f", "/api/ready", "/\x00", "//", "/page/main.js"])
    )
    method = "POST" if rng.random() < 0.95 else rng.choice(["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "GE\x00T"])
    content = body(question, rng)
    lines = [f"{method} {path} HTTP/1.1"]
    odd = rng.random() < 0.2
    lines += [f"Host: {rng.choice(HOSTS)}"] if odd else [f"Host: 127.0.0.1:{port}"]
    if rng.random() < 0.1:
        lines += [f"Origin: {rng.choice(ORIGINS)}"]
    if rng.random() < 0.05:  # whatever length that gives the body, the request ends
        lines, content = [*lines, rng.choice(HEADERS)], content + b"\r\nnothing\r\n"
    else:
        lines += [f"Content-Length: {len(content)}"]
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin1")
    return head + content, rng.random() < 0.1


def answer(port, sent, leaves):
    """The status of one request, or how it ended without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE + 2) as client:
        with contextlib.suppress(ConnectionError):  # what is refused early is closed before all of it is sent
            client.sendall(sent)
        if leaves:
            return "left"
        received = b""
        try:
            while b"\r\n" not in received and (more := client.recv(4096)):
                received += more
        except TimeoutError:
            return "hung"
        except ConnectionError:
            return "closed"
    return received.split(b" ")[1].decode() if received.startswith(b"HTTP/1.1 ") else "closed"


def fuzz(client, count, seed=0):
    """How many of `count` requests ended in which way, and the longest that one took, in seconds."""
    rng = random.Random(seed)
    ends, slowest = collections.Counter(), 0.0
    for number in range(count):
        begun = time.perf_counter()
        sent, leaves = request(client.port, rng)
        end = answer(client.port, sent, leaves)
        ends[end] += 1
        if end in ("500", "hung"):
            sys.stderr.write(f"request {number}: {end}: {sent[:3000]!r}\n")
        slowest = max(slowest, time.perf_counter() - begun)
    return dict(sorted(ends.items())), slowest


def main():
    parser = argparse.ArgumentParser(description="Random requests at the explorer.")
    parser.add_argument("count", nargs="?", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    log = io.StringIO()
    logging.basicConfig(stream=log)
    with serving("127.0.0.1", log_level="error") as client:
        for name, question in QUESTIONS:  # compiled before the clock runs
            client.post(name, question)
        for process in ("vp", "ve"):
            every = ["iteration", "flow", "exponential", "sde"]
            client.post("recall", {"scene": SCENE | {"process": process}, "cue": [0.1, 0.2], "dynamics": every})
        begun = time.perf_counter()
        ends, slowest = fuzz(client, given.count, given.seed)
        took = time.perf_counter() - begun
        status = client.get("/")[0]
    print(f"{given.count:,} requests in {took:.0f} s, the slowest {slowest:.1f} s; page afterwards: {status}")
    print(", ".join(f"{end}: {number:,}" for end, number in ends.items()))
    print(f"lines of log: {log.getvalue().count(chr(10))}")
    sys.stdout.write(log.getvalue()[:2000])
    sys.exit("500" in ends or "hung" in ends or slowest > PATIENCE or status != 200 or bool(log.getvalue()))


if __name__ == "__main__":
    main()
