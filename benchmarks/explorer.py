"""The memory and the time of the explorer: a server of its own is asked for everything that its page can ask for.

Of each kind of memory the page's three questions are asked at once, as it asks them when the kind is chosen: the
picture, all recalls, and where basins split; then once more, with programs compiled where they were not dropped. Then
digits by all dynamics, complete and not. Peaks are of resident memory, in MB.

    python -m benchmarks.explorer
"""

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.timing import show
from dispersed.explorer.landscape import DYNAMICS
from dispersed.explorer.scene import NETWORKS, PROCESSES, SEPARATIONS, SHAPES, SIMILARITIES
from dispersed.paper.digits.measure import DYNAMICS as OF_DIGITS

COMMAND = [sys.executable, "-m", "dispersed.cli.main", "explore", "--no-browser", "--port", "0"]
REACHES = {"segment": (0.55, 0.5), "circle": (0.45, 0), "box": (0.4, 0.25), "blob": (0.35, 0.2)}


def scenes():
    """A scene of each kind of memory, under every process and of every network that the page offers."""
    for kind, shapes in SHAPES.items():
        items = [
            {"shape": shape, "at": [1.1 * (-1) ** i, 0.9 - 0.6 * i], "reach": REACHES.get(shape, (0, 0))}
            for i, shape in enumerate(shapes * (4 // len(shapes)))
        ]
        scene = {"kind": kind, "items": items, "level": {"sigma": 0.4}}
        separations = SEPARATIONS if kind in ("fenchel-young", "universal") else [None]
        similarities = SIMILARITIES if kind == "universal" else [None]
        for process in ("ve",) if kind in NETWORKS else PROCESSES:
            for separation in separations:
                for similarity in similarities:
                    more = {"process": process, "separation": separation, "similarity": similarity}
                    given = {name: value for name, value in more.items() if value is not None}
                    yield " ".join([kind, *given.values()]), scene | given


def questions():
    """Name, and what is asked at once."""
    for name, scene in scenes():
        dynamics = ["iteration"] if scene["kind"] in NETWORKS else list(DYNAMICS)
        asked = {"scene": scene, "cue": [0.1, 0.2], "dynamics": dynamics, "field": "score"}
        yield name, [(kind, asked) for kind in ("landscape", "recall", "attractors")]
    for dynamics in OF_DIGITS:
        digits = [{"index": 1, "alpha": 0.5, "missing": missing, "dynamics": dynamics} for missing in ([], [0, 1])]
        yield f"digits, {dynamics}", [("digit", digit) for digit in digits]


class Server:
    """`dispersed explore` in a process of its own."""

    def __enter__(self):
        self.process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)/", self.process.stdout.readline())[1])
        while not json.loads(self.ask("GET", "/api/ready"))["ready"]:
            time.sleep(0.1)
        return self

    def __exit__(self, *failure):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def ask(self, method, path, question=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request(method, path, None if question is None else json.dumps(question))
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, (path, question, content)
        return content

    def at_once(self, asked):
        """Seconds until all are answered."""
        start = time.perf_counter()
        with ThreadPoolExecutor(len(asked)) as pool:
            list(pool.map(lambda one: self.ask("POST", f"/api/{one[0]}", one[1]), asked))
        return time.perf_counter() - start

    def peak(self):
        """MB of resident memory, at most, since this was last asked."""
        folder = Path(f"/proc/{self.process.pid}")
        most = int(re.search(r"VmHWM:\s+(\d+)", (folder / "status").read_text())[1]) * 1024 / 1e6
        (folder / "clear_refs").write_text("5")
        return most


def main():
    rows = []
    with Server() as server:
        rows.append(("start", "", "", f"{server.peak():.0f}"))
        for name, asked in questions():
            first, again = server.at_once(asked), server.at_once(asked)
            rows.append((name, f"{first:.1f}", f"{again:.2f}", f"{server.peak():.0f}"))
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    show("The explorer", ["asked", "first, s", "again, s", "peak, MB"], rows)
    print(f"At most {max(float(row[-1]) for row in rows):.0f} MB")


if __name__ == "__main__":
    main()
