"""A server in this process, and a real browser in front of it."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from tests.browser import chromium


def pytest_addoption(parser):
    parser.addoption("--screenshots", default=None, metavar="FOLDER", help="write the explorer's pictures for the docs")


@pytest.fixture(autouse=True)
def kept_programs(monkeypatch):
    """The process of the tests is larger than an explorer may be: its programs are not dropped for that."""
    monkeypatch.setattr("dispersed.explorer.memory.LIMIT", 1 << 40)


class Client:
    """Requests to a server, sent as they are written."""

    def __init__(self, port):
        self.port = port
        self.address = f"http://127.0.0.1:{port}/"

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, name, question, **headers):
        body = question if isinstance(question, bytes) else json.dumps(question).encode()
        return self.request("POST", f"/api/{name}", body, headers)


@contextlib.contextmanager
def serving(host, log_level="warning"):
    """The explorer, told that it is at `host`, at a free port of this machine."""
    import uvicorn

    from dispersed.explorer.server import application

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(host), log_level=log_level, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Client(listening.getsockname()[1])
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="package")
def client():
    with serving("127.0.0.1") as client:
        yield client


@pytest.fixture(scope="package")
def everywhere():
    """A server that listens at every address of the machine, as it is told."""
    with serving("0.0.0.0") as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    """Of one module: as long as Playwright is there, no other event loop of this thread can run."""
    with chromium() as launched:
        yield launched


@pytest.fixture
def open_page(browser, client):
    """Open the explorer at a size; at the end nothing may have been complained of."""
    complaints, contexts, asked = [], [], []

    def opened(width=1200, height=1000, path=""):
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(client.address + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith((client.address, "data:"))] == []
