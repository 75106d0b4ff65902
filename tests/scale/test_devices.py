"""Several devices and several hosts give what one gives; both are forced here on one machine."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np

CASE = """
import json, sys
import numpy as np
import jax
from dispersed import CertifiedFlow, ShardedMemory, StoredMemory, recall
rng = np.random.default_rng(3)
patterns = np.sign(rng.normal(size=(700, 12))).astype(np.float32)
weights = rng.exponential(size=700)
sigma = np.array([0.3, 0.8, 1.5, 6.0])
x = patterns[:4] + sigma[:, None] * rng.normal(size=(4, 12))
def answers(mine, prior):
    memory = StoredMemory(mine, prior)
    found = memory.posterior(x, sigma, tol=1e-4)
    recalled = recall(memory, x, CertifiedFlow(), sigma=sigma)
    return {"mean": found.mean.tolist(), "bound": found.bound.tolist(), "index": found.index[:, 0].tolist(),
        "log_normaliser": found.log_normaliser.tolist(), "recalled": recalled.index.tolist(),
        "owned": recalled.certificate.owned.tolist()}
"""


def program(text):
    return textwrap.dedent(CASE) + textwrap.dedent(text)


def environment(**more):
    return {**os.environ, "JAX_PLATFORMS": "cpu", **more}


def agree(found, expected):
    np.testing.assert_allclose(found["mean"], expected["mean"], atol=2e-4)
    np.testing.assert_allclose(found["log_normaliser"], expected["log_normaliser"], atol=1e-5)
    assert found["index"] == expected["index"]
    assert found["recalled"] == expected["recalled"]
    assert max(found["bound"]) <= 1e-4


def single():
    names = {}
    exec(program(""), names)
    return names["answers"](names["patterns"], names["weights"])


def test_four_devices_give_what_one_gives():
    code = program("""
        result = answers(patterns, weights)
        result["devices"] = len({d for b in StoredMemory(patterns).placed.blocks() for d in b.codes.devices()})
        sharded = ShardedMemory(patterns)
        result["shards"] = len(sharded.codes.addressable_shards)
        one = ShardedMemory(patterns, jax.sharding.Mesh(np.array(jax.devices()[:1]), ("patterns",)))
        result["apart"] = float(abs(np.asarray(sharded.denoise(x, sigma)) - np.asarray(one.denoise(x, sigma))).max())
        print(json.dumps(result))
    """)
    flags = environment(XLA_FLAGS="--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=1")
    run = subprocess.run([sys.executable, "-c", code], env=flags, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr[-2000:]
    result = json.loads(run.stdout)
    assert result["devices"] == result["shards"] == 4
    assert result["apart"] < 1e-5
    agree(result, single())


def test_two_hosts_give_what_one_gives():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = program("""
        number = int(sys.argv[1])
        jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", 2, number)
        share = slice(0, 250) if number == 0 else slice(250, None)
        print(json.dumps(answers(patterns[share], weights[share])))
    """)
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(number), str(port)],
            env=environment(XLA_FLAGS="--xla_backend_optimization_level=1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [host.communicate(timeout=200) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], outputs[0][1][-2000:] + outputs[1][1][-2000:]
    first, second = (json.loads(out.strip().splitlines()[-1]) for out, _ in outputs)
    assert first == second
    agree(first, single())
