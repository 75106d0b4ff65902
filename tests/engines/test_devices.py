"""Two hosts of two devices each give what one gives. The devices are forced; the hosts are two processes that talk."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

CASE = """
import json, sys
import numpy as np
import jax
from dispersed import CertifiedFlow, Dense, PatternMemory, Scanned, Sharded, recall
rng = np.random.default_rng(3)
patterns = np.sign(rng.normal(size=(700, 12))).astype(np.float32)
weights = rng.exponential(size=700)
sigma = np.array([0.3, 0.8, 1.5, 6.0])
x = patterns[:4] + sigma[:, None] * rng.normal(size=(4, 12))
def answers(mine, prior):
    memory = PatternMemory(mine, prior, engine=Scanned())
    found = memory.posterior(x, sigma, tol=1e-4)
    recalled = recall(memory, x, CertifiedFlow(), sigma=sigma)
    return {"mean": found.mean.tolist(), "bound": found.bound.tolist(), "index": found.index[:, 0].tolist(),
        "log_density": found.log_density.tolist(), "recalled": recalled.index.tolist(),
        "certified": recalled.certificate.certified.tolist(), "probability": recalled.probability.tolist()}
"""


HOST = """
number = int(sys.argv[1])
jax.distributed.initialize("127.0.0.1:" + sys.argv[2], 2, number)
share = slice(0, 250) if number == 0 else slice(250, None)
result = answers(patterns[share], weights[share])
held = PatternMemory(patterns[share], engine=Scanned()).held.placed.blocks()
result["devices"] = len({device for block in held for device in block.rows.codes.devices()})
sharded = PatternMemory(patterns, engine=Sharded())
result["shards"] = [len(sharded.held.codes.addressable_shards), sharded.held.mesh.size]
result["sharded"] = np.asarray(sharded.denoise(x, sigma)).tolist()
print(json.dumps(result))
"""


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_hosts_of_two_devices_give_what_one_gives(free_port):
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", CASE + HOST, str(number), str(free_port)],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [host.communicate(timeout=240) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], outputs[0][1][-2000:] + outputs[1][1][-2000:]
    first, second = (json.loads(out.strip().splitlines()[-1]) for out, _ in outputs)
    for name in first:
        assert first[name] == second[name]
    assert max(second["bound"]) <= 1e-4
    assert first["devices"] == 2
    assert first["shards"] == [2, 4]
    alone: dict = {}
    exec(CASE, alone)
    expected = alone["answers"](alone["patterns"], alone["weights"])
    np.testing.assert_allclose(first["mean"], expected["mean"], atol=2e-4)
    np.testing.assert_allclose(first["log_density"], expected["log_density"], atol=1e-5)
    np.testing.assert_allclose(first["probability"], expected["probability"], rtol=1e-5)
    for name in ("index", "recalled", "certified"):
        assert first[name] == expected[name]
    assert max(first["bound"]) <= 1e-4
    dense = alone["PatternMemory"](alone["patterns"], engine=alone["Dense"]()).denoise(alone["x"], alone["sigma"])
    np.testing.assert_allclose(first["sharded"], dense, atol=1e-4)


PEER = """
import os, signal, sys, numpy as np, jax
from dispersed import PatternMemory, Scanned
number = int(sys.argv[1])
jax.distributed.initialize("127.0.0.1:" + sys.argv[2], 2, number, heartbeat_timeout_seconds=10)
memory = PatternMemory(np.random.default_rng(number).normal(size=(300, 8)), engine=Scanned())
memory.posterior(np.zeros((2, 8)), 1.0)
if number == 1:
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    memory.posterior(np.zeros((2, 8)), 1.0)
"""


@pytest.mark.slow
def test_a_host_that_dies_ends_the_others_with_a_word(free_port):
    """Within the heartbeat of `jax.distributed`, which ends the process; no answer is made from fewer patterns."""
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", PEER, str(number), str(free_port)],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        _, said = hosts[0].communicate(timeout=90)
    finally:
        for host in hosts:
            host.kill()
            host.wait()
            host.stderr.close()
    assert hosts[0].returncode not in (0, None)
    assert "another task died" in said
