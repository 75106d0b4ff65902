"""What the server answers is what the library says, whatever fills a memory up; and strangers get nothing."""

import asyncio
import contextlib
import itertools
import json
import logging
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import jax.monitoring
import numpy as np
import pytest

from dispersed import VE, VP
from dispersed.datasets import load_digits
from dispersed.explorer.memory import resident
from dispersed.explorer.scene import NETWORKS, levels, read_level
from dispersed.explorer.work import ADMITTED, THREADS, AbandonedError, BusyError, Workers
from tests.explorer.fuzz import HOSTS, ORIGINS, fuzz

SIGMA = 0.4


def item(shape, at, reach=(0, 0), weight=1):
    return {"shape": shape, "at": list(at), "reach": list(reach), "weight": weight}


POINTS = [item("pattern", at) for at in ([-1.2, 0.9], [1.1, 1.2], [0.9, -1.0], [-0.8, -1.1], [0.0, 0.2])]
BLOBS = [item("blob", (-0.9, 0.7), (0.5, 0.25)), item("blob", (0.6, -0.9), (0.3, -0.4), 2)]
ITEMS = {
    "points": POINTS,
    "extended": [
        item("segment", (-0.95, 1), (0.55, 0.5)),
        item("circle", (0.9, 0.8), (0.45, 0)),
        item("box", (-0.9, -0.9), (0.4, 0.25), 3),
        item("blob", (0.9, -1), (0.35, 0.2)),
    ],
    "smoothed": POINTS,
    "gaussians": BLOBS,
    "reconstructive": [*BLOBS, item("event", (-0.8, 0)), item("event", (0.9, 0.1))],
    **dict.fromkeys(NETWORKS, POINTS),
}


def scene(kind="points", items=None, **more):
    return {"kind": kind, "items": items or ITEMS[kind], "level": {"sigma": SIGMA}, **more}


def unpack(body):
    """The answer, with its arrays."""
    (length,) = struct.unpack("<I", body[:4])

    def array(value):
        if set(value) != {"shape", "offset"}:
            return value
        start = 4 + length + 4 * value["offset"]
        size = int(np.prod(value["shape"]))
        return np.frombuffer(body[start : start + 4 * size], "<f4").reshape(value["shape"])

    return json.loads(body[4 : 4 + length], object_hook=array)


@pytest.fixture(scope="module")
def ask(client):
    def asked(name, question):
        status, _, body = client.post(name, question)
        assert status == 200, body
        return unpack(body)

    return asked


def test_the_picture_is_the_energy(ask):
    cue = [0.3, -0.2]
    answer = ask("landscape", {"scene": scene(), "cue": cue})
    axis = np.linspace(-2, 2, 200)
    y = np.array([p["at"] for p in POINTS])
    squares = ((np.stack(np.meshgrid(axis, axis), -1)[:, :, None] - y) ** 2).sum(-1)
    density = np.exp(-squares / 2 / SIGMA**2).mean(-1) / (2 * np.pi * SIGMA**2)
    np.testing.assert_allclose(answer["energy"], -(SIGMA**2) * np.log(density), atol=2e-5)
    r = np.exp(-((np.array(cue) - y) ** 2).sum(-1) / 2 / SIGMA**2)
    r /= r.sum()
    np.testing.assert_allclose(answer["cue"]["responsibilities"], r, atol=1e-5)
    assert answer["cue"]["entropy"] == pytest.approx(-(r * np.log(r)).sum(), abs=1e-4)
    np.testing.assert_allclose(answer["cue"]["denoised"], r @ y, atol=1e-5)


@pytest.mark.parametrize("process", ["ve", "vp"])
def test_runs_are_drawn_from_the_cue_on_along_the_flow(ask, process):
    """In the coordinates of the plane, whatever the process."""
    cue = [0.25, -0.4]
    run = ask("recall", {"scene": scene(process=process), "cue": cue, "dynamics": ["flow"], "seed": 3})["flow"]
    path, sigmas = np.array(run["trajectory"])[0], np.array(run["sigmas"])
    np.testing.assert_allclose(path[0], cue, atol=1e-5)
    assert sigmas[0] == pytest.approx(SIGMA, rel=1e-5)
    y = np.array([p["at"] for p in POINTS])
    # The exact flow by small steps of Heun's method in log σ.
    z, levels = np.array(cue), np.geomspace(sigmas[0], sigmas[len(sigmas) // 2], 400)
    for a, b in itertools.pairwise(levels):
        slopes = []
        for at, level in ((z, a), (None, b)):
            at = z + np.log(b / a) * slopes[0] if at is None else at
            r = softmax(-((at - y) ** 2).sum(-1) / (2 * level**2))
            slopes.append(at - r @ y)
        z = z + np.log(b / a) * np.mean(slopes, axis=0)
    np.testing.assert_allclose(path[len(sigmas) // 2], z, atol=0.02)


@pytest.mark.slow  # the browser's tests run the code of points too
@pytest.mark.parametrize("kind", ITEMS)
def test_the_copied_code_gives_what_is_on_the_screen(ask, kind, tmp_path, monkeypatch, capsys):
    names = ["iteration", "flow", "exponential", "sde"] if kind == "points" else ["iteration", "exponential"]
    names = ["iteration"] if kind in NETWORKS else names
    question = {
        "scene": scene(kind, process="ve" if kind in ("smoothed", *NETWORKS) else "vp", core="sum"),
        "cue": [0.25, -0.4],
        "dynamics": names,
        "seed": 3,
    }
    code = ask("code", {"tab": "landscape", **question})["code"]
    assert "NaN" not in code
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(compile(code, "copied.py", "exec"), scope)
    assert (tmp_path / "landscape.png").stat().st_size > 5000
    shown, picture = ask("recall", question), ask("landscape", question)
    within = np.isfinite(scope["energy"])
    assert (picture["energy"][~within] > 1e38).all()
    # At the edge of what Epanechnikov's patterns reach, the logarithm magnifies the round-off of positions.
    inside = within if kind != "epanechnikov" else np.exp(-scope["energy"] / SIGMA**2) > 0.05
    assert inside.mean() > 0.25
    np.testing.assert_allclose(picture["energy"][inside], scope["energy"][inside], atol=2e-5)
    level = () if kind in NETWORKS else (scope["sigma"],)
    stated = scope["memory"].responsibilities(scope["z"], *level)
    np.testing.assert_allclose(picture["cue"]["responsibilities"], stated, atol=1e-4)
    for name in names:
        copied = np.atleast_2d(scope["recalled"][name].x)[: len(shown[name]["end"])]
        np.testing.assert_allclose(shown[name]["end"], copied, atol=1e-3, err_msg=name)
    if kind == "points":
        index = np.asarray(scope["recalled"]["sde"].index)
        assert shown["sde"]["counts"] == np.bincount(index, minlength=5).tolist()
    assert "iteration" in capsys.readouterr().out


def test_nothing_is_compiled_when_a_pattern_is_added(ask):
    compiled = []

    def count(event, duration, **_):
        if "backend_compile" in event:
            compiled.append(event)

    def all_of(items):
        for name in ("landscape", "recall", "attractors"):
            question = {"scene": scene(items=items), "cue": [0.1, 0.2], "dynamics": ["iteration", "exponential"]}
            ask(name, question)

    all_of(POINTS)
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        all_of([*POINTS, item("pattern", (1.5, -1.5)), item("pattern", (0.3, 1.5))])
        assert compiled == []
        np.testing.assert_array_equal(jax.jit(lambda x: 3 * x + 17)(np.ones(3)), 20 * np.ones(3))
        assert compiled, "the listener hears nothing"
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


@pytest.mark.parametrize("process", [VP(), VE()])
def test_one_level_has_four_names(process):
    names = levels(0.7, process)
    assert names["beta"] == pytest.approx(1 / 0.49)
    assert names["alpha"] == pytest.approx(1 / np.sqrt(1.49))
    for name, value in names.items():
        assert read_level({name: value}, process) == pytest.approx(0.7, rel=1e-5)


def test_basins_split_where_they_must(ask):
    # Two equal patterns at distance 2a: D_σ(x) = a tanh(ax/σ²) has a second minimum exactly below σ = a.
    pair = ask("attractors", {"scene": scene(items=[item("pattern", (0.8, 0.3)), item("pattern", (-0.8, 0.3))])})
    (split,) = pair["splits"]
    assert (split["before"], split["after"]) == (1, 2)
    assert split["sigma"] == pytest.approx(0.8, rel=3e-3)
    assert pair["counts"][0] == 1
    assert pair["counts"][-1] == 2
    # Duplicates are one memory, and never split.
    same = ask("attractors", {"scene": scene(items=[item("pattern", (0.5, 0)), item("pattern", (0.5, 0))])})
    assert same["splits"] == []
    # Every minimum is a fixed point of the update.
    five = ask("attractors", {"scene": scene()})
    at = five["at"][np.isclose(five["at"][:, 0], np.array(five["sigma"], np.float32)[-1])][:, 1:]
    assert len(at) == 5
    np.testing.assert_allclose(sorted(at.tolist()), sorted(p["at"] for p in POINTS), atol=1e-3)


def test_smoothing_moves_a_split(ask):
    pair = [item("pattern", (0.8, 0.3)), item("pattern", (-0.8, 0.3))]
    (split,) = ask("attractors", {"scene": scene("smoothed", pair, bandwidth=0.5)})["splits"]
    assert split["sigma"] == pytest.approx(np.sqrt(0.8**2 - 0.5**2), rel=5e-3)


def test_a_digit_is_recalled_and_its_code_agrees(ask):
    images, labels = map(np.asarray, load_digits())
    stored = ask("digits", {})
    np.testing.assert_array_equal(stored["images"], images)
    assert stored["labels"] == labels.tolist()
    clear = {"index": 3, "alpha": 0.95, "seed": 1, "dynamics": "exponential"}
    masked = {**clear, "missing": list(range(32, 64))}
    vague = {**clear, "alpha": 0.2}
    for question, sure in ((clear, "image"), (masked, None), (vague, "no")):
        answer = ask("digit", question)
        scope = {}
        exec(compile(ask("code", {"tab": "digits", "digit": question})["code"], "copied.py", "exec"), scope)
        np.testing.assert_allclose(answer["recalled"], scope["result"].x, atol=1e-4)
        best = [entry["probability"] for entry in answer["alternatives"]]
        np.testing.assert_allclose(best, np.sort(scope["posterior"])[::-1][:6], rtol=1e-3, atol=1e-6)
        assert sum(answer["by_digit"]) == pytest.approx(1, abs=1e-4)
        if sure is not None:
            assert answer["verdict"]["sure"] == sure
    assert ask("digit", clear)["nearest"] == 3
    # What was seen stays as it was seen.
    answer = ask("digit", masked)
    np.testing.assert_allclose(answer["recalled"][:32], answer["cue"][:32], atol=1e-5)
    assert "I don't know" in ask("digit", vague)["verdict"]["text"]


def settled(update, starts):
    """The different states to which an update leads, by repetition in double precision."""
    x = np.array(starts, float)
    for _ in range(2000):
        x = update(x)
    return np.unique(x.round(2), axis=0)


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


Y = np.array([p["at"] for p in POINTS])
BETA = 1 / SIGMA**2
UPDATES = {
    "modern": lambda x: softmax(BETA * x @ Y.T) @ Y,
    "epanechnikov": lambda x: Y[np.linalg.norm(x - Y, axis=-1) ** 2 < 2 / BETA].mean(0)[None],
    "universal": lambda x: softmax(-BETA * np.abs(x[:, None] - Y).sum(-1)) @ Y,
    "fenchel-young": lambda x: sparsemax(BETA * x @ Y.T) @ Y,
}


def sparsemax(scores):
    """The projection of each row onto the simplex, by sorting."""
    falling = -np.sort(-scores, axis=-1)
    count = np.arange(1, scores.shape[-1] + 1)
    tau = (np.cumsum(falling, -1) - 1) / count
    last = (falling > tau).sum(-1, keepdims=True) - 1
    return np.maximum(scores - np.take_along_axis(tau, last, -1), 0)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_is_what_it_is_by_hand_whatever_fills_it_up(ask, kind):
    cue = [0.3, -0.1]
    setting = {"separation": "sparsemax" if kind == "fenchel-young" else "softmax"}
    question = {"scene": scene(kind, level={"beta": BETA}, **setting), "cue": cue, "dynamics": ["iteration"]}
    answer, recalled = ask("landscape", question), ask("recall", question)["iteration"]
    by_hand = UPDATES[kind]
    np.testing.assert_allclose(answer["cue"]["denoised"], by_hand(np.array([cue]))[0], atol=1e-4)
    np.testing.assert_allclose(recalled["end"], settled(by_hand, [cue]), atol=6e-3)
    assert len(answer["cue"]["responsibilities"]) == len(recalled["counts"]) == len(POINTS)
    assert answer["surface"] == ("step" if kind == "universal" else "energy")
    if kind == "modern":
        axis = np.linspace(-2, 2, 200)
        grid = np.stack(np.meshgrid(axis, axis), -1)
        energy = (grid**2).sum(-1) / 2 - np.log(np.exp(BETA * grid @ Y.T).sum(-1)) / BETA
        np.testing.assert_allclose(answer["energy"], energy, atol=2e-5)


def test_where_a_networks_basins_split(ask):
    # x = a tanh(βa x) along the line of two patterns at distance 2a about the origin: σ = 1/√β = a.
    pair = [item("pattern", (0.8, 0.3)), item("pattern", (-0.8, -0.3))]
    found = ask("attractors", {"scene": scene("modern", pair)})
    (split,) = found["splits"]
    assert (split["before"], split["after"]) == (1, 2)
    assert split["sigma"] == pytest.approx(np.hypot(0.8, 0.3), rel=3e-3)
    # Within r = σ√2: of each other both alone and their middle are minima, of their middle that one is.
    pair = ask("attractors", {"scene": scene("epanechnikov", pair)})
    assert [(s["before"], s["after"]) for s in pair["splits"]] == [(1, 3), (3, 2)]
    half = np.hypot(0.8, 0.3)
    np.testing.assert_allclose([s["sigma"] for s in pair["splits"]], [half * 2**0.5, half / 2**0.5], rtol=3e-3)


BAD = {
    "kind": ("landscape", {"scene": scene() | {"kind": "bottomless"}}),
    "items": ("landscape", {"scene": scene(items=[]) | {"items": []}}),
    "at": ("landscape", {"scene": scene(items=[item("pattern", (99, 0))])}),
    "weight": ("landscape", {"scene": scene(items=[item("pattern", (0, 0), weight=0)])}),
    "level": ("landscape", {"scene": scene() | {"level": {"sigma": 1, "alpha": 1}}}),
    "alpha": ("landscape", {"scene": scene() | {"level": {"alpha": 0.01}}}),
    "items: got 25": ("landscape", {"scene": scene(items=[item("pattern", (0, 0))] * 25)}),
    "shape": ("landscape", {"scene": scene(items=[item("circle", (0, 0))])}),
    "weight: got one for a network": ("landscape", {"scene": scene("modern", [item("pattern", (0, 0), weight=2)])}),
    "process": ("landscape", {"scene": scene("modern", process="vp")}),
    "separation": ("landscape", {"scene": scene("universal", separation="max")}),
    "similarity": ("landscape", {"scene": scene("universal", similarity="dot")}),
    "dynamics: iteration are": ("recall", {"scene": scene("modern"), "cue": [0, 0], "dynamics": ["sde"]}),
    "cue": ("recall", {"scene": scene()}),
    "dynamics": ("recall", {"scene": scene(), "cue": [0, 0], "dynamics": ["guess"]}),
    "dynamics: twice": ("recall", {"scene": scene(), "cue": [0, 0], "dynamics": ["sde", "sde"]}),
    "dynamics: up to 4": ("recall", {"scene": scene(), "cue": [0, 0], "dynamics": ["sde"] * 400}),
    "index: whole": ("digit", {"index": 3.5, "alpha": 0.5}),
    "missing: twice": ("digit", {"index": 0, "alpha": 0.5, "missing": [1, 1]}),
    "index": ("digit", {"index": 1797, "alpha": 0.5}),
    "missing": ("digit", {"index": 0, "alpha": 0.5, "missing": [64]}),
    "missing: got every": ("digit", {"index": 0, "alpha": 0.5, "missing": list(range(64))}),
}


def refusal(body):
    line = json.loads(body)["error"]
    assert "\n" not in line
    return line


@pytest.mark.parametrize("argument", BAD)
def test_a_bad_question_gets_one_line(client, argument):
    status, _, body = client.post(*BAD[argument])
    assert status == 400, body
    line = refusal(body)
    assert line.startswith(argument.split(":")[0])
    assert argument.split(": ")[-1] in line


def test_what_is_no_question_is_refused(client):
    for question in (b"", b"{", b"[]", b'{"scene": NaN}', b"\xff\xfe"):
        status, _, body = client.post("landscape", question)
        assert status == 400, question
        assert refusal(body).startswith("body"), question
    assert client.post("landscape", b" " * 300_000)[0] == 413
    assert client.get("/api/landscape")[0] == 405
    for path in ("/page/../server.py", "/page/..%2fserver.py", "/page//etc/passwd", "/page/"):
        assert client.get(path)[0] == 404, path


def test_strangers_are_refused(client):
    for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "192.0.2.7", *HOSTS):
        assert client.get("/", Host=host)[0] in (400, 403), host
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", *ORIGINS):
        assert client.post("digits", {}, Origin=origin)[0] == 403, origin
    for host in ("127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:8765", "[0:0::1]", "127.0.0.2"):
        assert client.get("/api/ready", Host=host)[0] == 200, host
    status, headers, _ = client.post("digits", {}, Origin=client.address[:-1])
    assert status == 200
    assert "default-src 'self'" in headers["Content-Security-Policy"]


def test_where_every_address_is_served_names_are_not(everywhere):
    assert everywhere.get("/api/ready", Host="192.0.2.7:8765")[0] == 200
    assert everywhere.get("/api/ready", Host="evil.example")[0] == 403


def test_random_requests_get_an_answer_and_leave_no_trace(client, ask, caplog):
    for name in ("landscape", "digits"):
        ask(name, {"scene": scene()})
    with caplog.at_level(logging.ERROR):
        ends, slowest = fuzz(client, 200, seed=5)
    assert sum(ends.values()) == 200
    assert ends["400"] > 20
    assert ends["403"] > 20
    assert ends["left"] > 5
    assert not {"500", "hung"} & set(ends), ends
    assert slowest < 60
    assert caplog.records == []
    assert client.get("/")[0] == 200


def run(coroutine):
    """In a thread of its own: a browser that other tests drive may keep a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def test_work_ends_when_its_client_leaves_and_is_not_piled_up():
    """Blocked work stands for long work; what ends it is the check between two pieces."""
    pieces, begun = [], threading.Semaphore(0)
    going_on = threading.Event()

    def work(check):
        begun.release()
        going_on.wait(30)
        for piece in range(3):
            check()
            pieces.append(piece)

    async def scenario():
        workers = Workers(threading.Event())
        leaving = [asyncio.Event() for _ in range(ADMITTED)]
        running = [asyncio.ensure_future(workers.run(work, event.wait)) for event in leaving]
        for _ in range(THREADS):
            await asyncio.to_thread(begun.acquire)
        with pytest.raises(BusyError):
            await workers.run(work, asyncio.Event().wait)
        for event in leaving:
            event.set()
        ended = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 5)
        assert [type(error) for error in ended] == [AbandonedError] * ADMITTED
        going_on.set()
        # All threads are free again, and none has done a piece.
        answer = None
        while answer is None:
            with contextlib.suppress(BusyError):
                answer = await workers.run(lambda check: 17, asyncio.Event().wait)
            await asyncio.sleep(0.01)
        assert (answer, pieces) == (17, [])

    run(asyncio.wait_for(scenario(), 60))


def test_work_ends_when_the_server_stops():
    stopping = threading.Event()

    async def scenario():
        workers = Workers(stopping)
        running = asyncio.ensure_future(workers.run(lambda check: stopping.wait(30) and check(), asyncio.Event().wait))
        await asyncio.sleep(0.05)
        stopping.set()
        with pytest.raises(AbandonedError):
            await asyncio.wait_for(running, 5)

    run(scenario())


def test_resident_memory_is_known_where_the_system_says_it():
    before = resident()
    held = np.ones(50_000_000, np.uint8)
    assert before == 0 or 40e6 < resident() - before < 80e6
    assert held.any()
