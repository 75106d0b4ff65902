"""The local server: one page, a few questions that it asks, and nobody else's."""

import ipaddress
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dispersed.explorer.code import digit_code, landscape_code
from dispersed.explorer.digits import digit, stored
from dispersed.explorer.landscape import DYNAMICS, picture, runs
from dispersed.explorer.places import places
from dispersed.explorer.scene import REACH, choice, mapping, number, pair, read_scene
from dispersed.explorer.warm import warm_up
from dispersed.validation import InputError

PAGE = Path(__file__).parent / "page"
LARGEST = 1 << 18
"""The largest question, in bytes."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(host: str = "127.0.0.1", *, warm: bool = False) -> Starlette:
    """The explorer as an ASGI application that answers requests addressed to `host`.

    With `warm`, every program is compiled in the background from the start, so that no first click waits.
    """
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
        *(Route(f"/api/{name}", _endpoint(answer), methods=["POST"]) for name, answer in ANSWERS.items()),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(_OnlyOurs, host=host)
    return app


class _OnlyOurs:
    """Refuses requests that another site's page sends, or that reach us under another site's name."""

    def __init__(self, app: Any, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_ours(host):
            refused = f"host: got {host!r:.80}; requests to this machine by its address are accepted"
            await JSONResponse({"error": refused}, 403, HEADERS)(scope, receive, send)
            return
        if origin is not None and urlsplit(origin).netloc != host:
            refused = f"origin: got {origin!r:.80}; requests from the explorer's own page are accepted"
            await JSONResponse({"error": refused}, 403, HEADERS)(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _is_ours(self, host: str) -> bool:
        """A name that another site's owner cannot point at this machine: an address, localhost, or `host`."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name in ("localhost", self.host):
            return True
        try:
            address = ipaddress.ip_address(name or "")
        except ValueError:
            return False
        return address.is_loopback or self.host in ("0.0.0.0", "::")


def _endpoint(answer: Callable[[Any], Mapping[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Questions are JSON; a bad one gets status 400 and one line."""

    async def endpoint(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                return JSONResponse({"error": f"body: got more than {LARGEST} bytes; less is accepted"}, 413)
        try:
            question = json.loads(body, parse_constant=_refuse_constant)
            return _packed(await run_in_threadpool(answer, mapping("body", question)))
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        except (ValueError, RecursionError):
            return JSONResponse({"error": "body: got no JSON; a JSON object is accepted"}, 400)

    return endpoint


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
            place = {"shape": list(value.shape), "offset": offset}
            offset += value.size
            return place
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
    return int(number("seed", question.get("seed", 0), 0, 2**31 - 1))


def _names(question: Mapping[str, Any]) -> list[str]:
    given = question.get("dynamics", [])
    if not isinstance(given, list):
        raise InputError("dynamics", f"got {given!r:.60}", "a list of names is accepted")
    return [choice("dynamics", name, DYNAMICS) for name in given]


def _landscape(question: Mapping[str, Any]) -> dict[str, Any]:
    scene = read_scene(question.get("scene"))
    field = choice("field", question.get("field", "displacement"), ("displacement", "score"))
    return picture(scene, scene.memory(), _cue(question), field)


def _recall(question: Mapping[str, Any]) -> dict[str, Any]:
    scene, cue = read_scene(question.get("scene")), _cue(question)
    if cue is None:
        raise InputError("cue", "got none", "two numbers are accepted")
    return runs(scene, scene.memory(), cue, _names(question), _seed(question))


def _places(question: Mapping[str, Any]) -> dict[str, Any]:
    scene = read_scene(question.get("scene"))
    found = places(scene, scene.memory())
    level = np.repeat(found.sigma, [len(states) for states in found.states])
    return {
        "sigma": found.sigma.tolist(),
        "counts": [len(states) for states in found.states],
        "at": np.column_stack([level, np.concatenate(found.states)]),
        "splits": [split._asdict() for split in found.splits],
    }


def _code(question: Mapping[str, Any]) -> dict[str, Any]:
    if choice("tab", question.get("tab"), ("landscape", "digits")) == "digits":
        return {"code": digit_code(question.get("digit"))}
    scene = read_scene(question.get("scene"))
    return {"code": landscape_code(scene, _cue(question), _names(question), _seed(question))}


def _digits(question: Mapping[str, Any]) -> dict[str, Any]:
    _, images, labels = stored()
    return {"images": images, "labels": labels.tolist()}


ANSWERS: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "landscape": _landscape,
    "recall": _recall,
    "places": _places,
    "code": _code,
    "digits": _digits,
    "digit": digit,
}
"""The questions that the page may ask."""
