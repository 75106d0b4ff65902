"""`dispersed explore` as a user runs it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

COMMAND = [sys.executable, "-m", "dispersed.cli.main", "explore", "--no-browser"]


def test_it_serves_until_interrupted():
    run = subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        said = run.stdout.readline()
        assert said.startswith("The explorer is at http://127.0.0.1:")
        with urllib.request.urlopen(said.split()[4], timeout=60) as answer:
            assert b"<title>dispersed" in answer.read()
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert (run.returncode, out, err) == (0, "Stopped.\n", "")


@pytest.mark.parametrize("port", ["taken", "65536"])
def test_a_port_that_cannot_be_had_is_one_line(port):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1]) if port == "taken" else port
        run = subprocess.run(
            [*COMMAND, "--port", number], capture_output=True, text=True, timeout=120, check=False, env={**os.environ}
        )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("dispersed: ")
    assert "port" in run.stderr
    assert number in run.stderr
