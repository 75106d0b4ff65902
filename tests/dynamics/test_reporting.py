"""A callback is told of every step and changes nothing."""

import diffrax as dfx
import jax
import numpy as np
import pytest

from dispersed import DDIM, AncestralSampling, Denoiser, InputError, Iteration, PatternMemory, ProbabilityFlow, recall

STEPS = 6


@pytest.fixture
def memory():
    return PatternMemory(np.random.default_rng(0).standard_normal((9, 4)).astype("f4"))


class StopError(Exception):
    """What a user's callback may raise."""


def test_what_a_callback_raises_ends_the_recall_and_comes_back(memory):
    told = []

    def callback(step, sigma, z):
        told.append(step)
        if step == 2:
            raise StopError("enough")

    for _ in range(2):
        with pytest.raises(StopError, match=r"^enough$"):
            recall(memory, np.zeros((3, 4)), DDIM(STEPS), sigma=0.7, callback=callback)
        assert told == [0, 1, 2]
        told.clear()


class Failing(Denoiser):
    """A denoiser on the host that raises."""

    @property
    def dimension(self):
        return 4

    def _denoise(self, x, sigma):
        def fail(x):
            raise StopError("of the memory")

        return jax.pure_callback(fail, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="broadcast_all")


def test_what_was_raised_in_a_program_of_the_user_is_not_taken_for_that_of_a_later_recall(memory):
    """There the exception is JAX's, and what the callback raised stays behind."""
    raised = StopError("of the program")

    def callback(step, sigma, z):
        if raised is not None:
            raise raised

    def program(x):
        return recall(memory, x, DDIM(STEPS), sigma=0.7, callback=callback).x

    with pytest.raises(jax.errors.JaxRuntimeError, match="of the program"):
        jax.block_until_ready(jax.jit(program)(np.zeros(4, "f4")))
    raised = None
    with pytest.raises(jax.errors.JaxRuntimeError, match="of the memory"):
        recall(Failing(), np.zeros((2, 4), "f4"), DDIM(STEPS), sigma=0.7, callback=callback)


@pytest.mark.parametrize("dynamics", [DDIM(STEPS), AncestralSampling(STEPS), ProbabilityFlow(dfx.Heun(), STEPS)])
@pytest.mark.parametrize("batch", [(), (5,)])
def test_every_step_is_told_once_for_all_cues(memory, key, dynamics, batch):
    cues = np.random.default_rng(1).standard_normal((*batch, 4)).astype("f4")
    told = []
    found = recall(memory, cues, dynamics, sigma=0.7, key=key, callback=lambda *step: told.append(step))
    without = recall(memory, cues, dynamics, sigma=0.7, key=key, trajectory=True)
    assert [step for step, _, _ in told] == list(range(STEPS - 1))
    levels = np.stack([sigma for _, sigma, _ in told])
    states = np.stack([z for _, _, z in told])
    assert states.shape == (STEPS - 1, *(batch or (1,)), 4)
    assert (np.diff(levels, axis=0) < 0).all()
    np.testing.assert_array_equal(states[0], cues.reshape(states[0].shape))
    path = np.moveaxis(np.asarray(without.trajectory).reshape(-1, STEPS + 1, 4), 0, 1)
    np.testing.assert_allclose(states, path[: STEPS - 1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.x, without.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.evaluations, without.evaluations)


def test_derivatives_pass_through(memory):
    cue = np.full(4, 0.3, "f4")

    def end(x, **settings):
        return recall(memory, x, DDIM(STEPS), sigma=1.0, **settings).x[0]

    told = []
    slope = jax.grad(lambda x: end(x, callback=lambda *step: told.append(step)))(cue)
    np.testing.assert_allclose(slope, jax.grad(end)(cue), rtol=1e-4, atol=1e-6)
    assert told


@pytest.mark.parametrize("dynamics", [Iteration(), ProbabilityFlow(dfx.Tsit5(), tol=1e-3)])
def test_steps_that_are_chosen_on_the_way_are_refused(memory, dynamics):
    with pytest.raises(InputError, match=r"callback: got one for .*; solvers whose steps are those of a grid"):
        recall(memory, np.zeros(4), dynamics, sigma=1.0, callback=print)
