"""`dispersed explore` as a user runs it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from dispersed import InputError
from dispersed.cli.explore import explore_command

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


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        run = subprocess.run(
            [*COMMAND, "--port", number], capture_output=True, text=True, timeout=120, check=False, env={**os.environ}
        )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith(f"dispersed: host, port: cannot listen at 127.0.0.1:{number}")


@pytest.mark.parametrize(("port", "host"), [(65536, "127.0.0.1"), (-1, "127.0.0.1"), (0, "no such host")])
def test_where_nobody_can_listen(port, host):
    with pytest.raises(InputError, match="port"):
        explore_command(port=port, host=host, browser=False)
