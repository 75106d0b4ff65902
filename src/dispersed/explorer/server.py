"""The local server: one page, a few questions that it asks, and nobody else's."""

import asyncio
import ipaddress
import json
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dispersed.explorer.attractors import attractors
from dispersed.explorer.code import digit_code, landscape_code
from dispersed.explorer.digits import digit, stored
from dispersed.explorer.landscape import DYNAMICS, picture, runs
from dispersed.explorer.scene import REACH, Scene, choice, mapping, pair, read_scene, whole
from dispersed.explorer.warm import warm_up
from dispersed.explorer.work import ADMITTED, AbandonedError, BusyError, Check, Workers
from dispersed.validation import InputError

PAGE = Path(__file__).parent / "page"
LARGEST = 1 << 14
"""The largest question, in bytes; one with as many items as are accepted takes a third."""
PATIENCE = 10
"""Seconds that a question may take to arrive."""
HOST = re.compile(r"(\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(:(?P<port>[0-9]{1,5}))?", re.ASCII)
"""A host as it stands in a request: a name, or an address, with IPv6 in brackets; no user, path or zone."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(host: str = "127.0.0.1", *, warm: bool = False, stopping: threading.Event | None = None) -> Starlette:
    """The explorer as an ASGI application that answers requests addressed to `host`.

    With `warm`, every program is compiled in the background from the start, so that no first click waits. Once
    `stopping` is set, requests end at once.
    """
    workers = Workers(threading.Event() if stopping is None else stopping)
    ready = threading.Event()
    if warm:
        threading.Thread(target=warm_up, args=(ready,), daemon=True).start()
    else:
        ready.set()

    async def index(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def state(request: Request) -> Response:
        return JSONResponse({"ready": ready.is_set()})

    routes = [
        Route("/", index),
        Route("/api/ready", state),
        *(Route(f"/api/{name}", _endpoint(answer, workers), methods=["POST"]) for name, answer in ANSWERS.items()),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(_OnlyOurs, host=host)
    return app


class _OnlyOurs:
    """Refuses requests that another site's page sends, or that reach us under another site's name."""

    def __init__(self, app: Any, host: str) -> None:
        self.app, self.host = app, host.lower()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        try:
            # A body that is malformed has been answered by the server, after which nothing may be sent.
            body = await asyncio.wait_for(_body(receive), PATIENCE)
        except _TooLargeError:
            refused = refused or _refused(f"body: got more than {LARGEST} bytes; less is accepted", 413)
        except TimeoutError:
            refused = refused or _refused(f"body: got no end within {PATIENCE} s; faster requests are accepted", 408)
        else:
            if body is None:
                return
        if refused is not None:
            await refused(scope, receive, send)
            return
        read = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Any:
            return read.pop() if read else await receive()

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        await self.app(scope, received, with_headers)

    def _refusal(self, scope: Any) -> Response | None:
        """The answer to a request that is not from our own page; None if it is."""
        hosts, origins = (
            [value.decode("latin1").lower() for key, value in scope["headers"] if key.lower() == name]
            for name in (b"host", b"origin")
        )
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            given = ", ".join(hosts)
            return _refused(f"host: got {given!r:.80}; requests to this machine by its address are accepted", 403)
        if origins and origins not in ([f"http://{hosts[0]}"], [f"https://{hosts[0]}"]):
            given = ", ".join(origins)
            return _refused(f"origin: got {given!r:.80}; requests from the explorer's own page are accepted", 403)
        return None

    def _is_ours(self, host: str) -> bool:
        """A name that another site's owner cannot point at this machine: an address, localhost, or `host`."""
        parts = HOST.fullmatch(host)
        if parts is None or int(parts["port"] or 0) > 65535:
            return False
        name = parts["six"] or parts["name"]
        if parts["six"] and ":" not in name:
            return False
        if name in ("localhost", self.host):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.host in ("0.0.0.0", "::")


def _endpoint(
    answer: Callable[[Any, Check], Mapping[str, Any]], workers: Workers
) -> Callable[..., Awaitable[Response]]:
    """Questions are JSON; a bad one gets status 400 and one line."""

    async def endpoint(request: Request) -> Response:
        try:
            question = _question(await request.body())
            return await workers.run(lambda check: _packed(answer(question, check)), lambda: _left(request))
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        except BusyError:
            busy = f"server: got more than {ADMITTED} requests at once; the same one is accepted a little later"
            return JSONResponse({"error": busy}, 503, {"Retry-After": "1"})
        except AbandonedError:
            return JSONResponse({"error": "server: stopping"}, 503, {"Connection": "close"})

    return endpoint


class _TooLargeError(Exception):
    pass


def _refused(line: str, status: int) -> Response:
    return JSONResponse({"error": line}, status, {**HEADERS, "Connection": "close"})


async def _body(receive: Any) -> bytes | None:
    """The body of a request; None if its client has left before the end."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise _TooLargeError
        if not message.get("more_body", False):
            return body
    return None


async def _left(request: Request) -> None:
    """Wait until the client has left; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _question(body: bytes) -> Mapping[str, Any]:
    try:
        return mapping("body", json.loads(body, parse_constant=_refuse_constant))
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError("body", "got no JSON", "a JSON object is accepted") from None


def _refuse_constant(name: str) -> Any:
    raise InputError("body", f"got {name}", "finite numbers are accepted")


def _packed(answer: Mapping[str, Any]) -> Response:
    """A JSON header and behind it the arrays as little-endian float32.

    The first four bytes are the header's length, a multiple of four; in the header an array stands as
    {"shape": …, "offset": …}, its offset counted in numbers from the header's end.
    """
    arrays: list[np.ndarray] = []
    offset = 0

    def plain(value: Any) -> Any:
        nonlocal offset
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value, dtype="<f4"))
            where = {"shape": list(value.shape), "offset": offset}
            offset += value.size
            return where
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return value

    header = json.dumps(plain(answer), allow_nan=False).encode()
    header += b" " * (-len(header) % 4)
    body = len(header).to_bytes(4, "little") + header + b"".join(array.tobytes() for array in arrays)
    return Response(body, media_type="application/octet-stream")


def _cue(question: Mapping[str, Any]) -> tuple[float, float] | None:
    given = question.get("cue")
    return None if given is None else pair("cue", given, 2 * REACH)


def _seed(question: Mapping[str, Any]) -> int:
    return whole("seed", question.get("seed", 0), 0, 2**31 - 1)


def _names(question: Mapping[str, Any], scene: Scene) -> list[str]:
    given = question.get("dynamics", [])
    if not isinstance(given, list) or len(given) > len(DYNAMICS):
        raise InputError("dynamics", f"got {given!r:.60}", f"a list of up to {len(DYNAMICS)} names is accepted")
    accepted = ("iteration",) if scene.is_network else tuple(DYNAMICS)
    names = [choice("dynamics", name, accepted) for name in given]
    if len(set(names)) < len(names):
        raise InputError("dynamics", "got a name twice", "each name is accepted once")
    return names


def _landscape(question: Mapping[str, Any], check: Check) -> dict[str, Any]:
    scene = read_scene(question.get("scene"))
    field = choice("field", question.get("field", "displacement"), ("displacement", "score"))
    return picture(scene, scene.memory(), _cue(question), field)


def _recall(question: Mapping[str, Any], check: Check) -> dict[str, Any]:
    scene, cue = read_scene(question.get("scene")), _cue(question)
    if cue is None:
        raise InputError("cue", "got none", "two numbers are accepted")
    return runs(scene, scene.memory(), cue, _names(question, scene), _seed(question), check)


def _attractors(question: Mapping[str, Any], check: Check) -> dict[str, Any]:
    scene = read_scene(question.get("scene"))
    found = attractors(scene, scene.memory(), check)
    level = np.repeat(found.sigma, [len(states) for states in found.attractors])
    return {
        "sigma": found.sigma.tolist(),
        "counts": [len(states) for states in found.attractors],
        "at": np.column_stack([level, np.concatenate(found.attractors)]),
        "splits": [split._asdict() for split in found.splits],
    }


def _code(question: Mapping[str, Any], check: Check) -> dict[str, Any]:
    if choice("tab", question.get("tab"), ("landscape", "digits")) == "digits":
        return {"code": digit_code(question.get("digit"))}
    scene = read_scene(question.get("scene"))
    return {"code": landscape_code(scene, _cue(question), _names(question, scene), _seed(question))}


def _digits(question: Mapping[str, Any], check: Check) -> dict[str, Any]:
    _, images, labels = stored()
    return {"images": images, "labels": labels.tolist()}


ANSWERS: dict[str, Callable[[Mapping[str, Any], Check], Mapping[str, Any]]] = {
    "landscape": _landscape,
    "recall": _recall,
    "attractors": _attractors,
    "code": _code,
    "digits": _digits,
    "digit": digit,
}
"""The questions that the page may ask."""
