"""Two hosts are two threads that meet at every collective: each gives what one host with all patterns gives."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from dispersed.engines.ladder import DIFFERENCES, DOUBLE, SCREENING, SINGLE, climb
from tests.engines.oracle import exact, placed

N, D = 600, 6
"""The patterns of each host."""


@pytest.fixture
def on_both(monkeypatch):
    """Call a function of the number of the host on both of them at once."""
    here, meeting, desk = threading.local(), threading.Barrier(2, timeout=60), [None, None]

    def gather(part):
        desk[here.number] = part
        meeting.wait()
        both = list(desk)
        meeting.wait()
        return jax.tree.map(lambda *parts: np.stack(parts), *both)

    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: here.number)

    def call(function):
        def host(number):
            here.number = number
            try:
                return function(number)
            except BaseException:
                meeting.abort()
                raise

        with ThreadPoolExecutor(2) as hosts:
            return list(hosts.map(host, range(2)))

    return call


@pytest.mark.parametrize("swapped", [False, True])
def test_every_rung_answers_as_one_host_does(rng, on_both, swapped):
    """What a state needs lies on either host or on both; the first pattern of all weighs nothing."""
    y = rng.normal(size=(2 * N, D)).astype(np.float32)
    y[N:] = y[N:] * 0.5 + 3
    y[N + 7] = y[3]
    log_w = np.where(np.arange(2 * N) % 7, rng.normal(size=2 * N), -np.inf)
    log_w[N + 7] = log_w[3]
    if swapped:
        y, log_w = np.roll(y, N, axis=0), np.roll(log_w, N)
    log_w -= np.logaddexp.reduce(log_w)
    x = y[[3, 5, N, N + 20, 8, N + 30]] + 0.05 * rng.normal(size=(6, D))
    sigma = np.array([0.05, 0.1, 0.05, 0.02, 20.0, 1.5])

    def host(number):
        mine = slice(number * N, (number + 1) * N)
        held = placed(y[mine], small_set=1, by_differences=40)
        held = held.reweighted(log_w[mine])
        return [climb(held, x, sigma, 1e-3, 4, first) for first in (SCREENING, SINGLE, DOUBLE, DIFFERENCES)]

    one, other = on_both(host)
    for answers, same in zip(one, other, strict=True):
        for name in (
            "mean",
            "bound",
            "log_mass",
            "entropy",
            "indices",
            "responsibilities",
            "certain",
            "rung",
            "weighed",
        ):
            np.testing.assert_array_equal(getattr(answers, name), getattr(same, name))
        assert answers.certain.all()
        for i in range(6):
            log_mass, mean, p = exact(y, log_w, x[i], sigma[i])
            assert np.linalg.norm((answers.mean[i] - mean).astype(float)) <= answers.bound[i] <= 1e-3
            np.testing.assert_allclose(answers.log_mass[i], float(log_mass), rtol=1e-4, atol=1e-4)
            named = answers.indices[i][answers.indices[i] >= 0]
            assert named[0] == p.argmax()
            np.testing.assert_allclose(answers.responsibilities[i, : len(named)], p[named].astype(float), atol=1e-3)
    p = np.array([exact(y, log_w, *state)[2] for state in zip(x, sigma, strict=True)])
    np.testing.assert_array_equal(one[-1].indices, np.argsort(-p, axis=1, kind="stable")[:, :4])
    assert {SCREENING} < set(one[0].rung.tolist())
