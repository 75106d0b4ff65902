"""What is stored is what is decoded, to the bit, wherever it is decoded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dispersed import InputError
from dispersed.storage import ENCODINGS, Bits, Float16, Float32, Int8, encoding_named


def stored(encoding, codes, scale, d):
    """What codes mean, number by number, in Python's own arithmetic."""
    values = np.empty((len(codes), d), np.float64)
    for row in range(len(codes)):
        for i in range(d):
            if encoding.name == "bits":
                values[row, i] = 1 if codes[row, i // 8] >> (i % 8) & 1 else -1
            else:
                values[row, i] = float(codes[row, i]) * (float(scale[row]) if encoding.scaled else 1)
    return values


def some_patterns(encoding, rng, n=13, d=11):
    if encoding.name == "bits":
        return np.sign(rng.standard_normal((n, d)))
    return rng.standard_normal((n, d)) * np.float64(10) ** rng.uniform(-6, 4, (n, 1))


@pytest.mark.parametrize("name", ENCODINGS)
def test_decoding_is_exact_under_numpy_inside_jit_and_fused(name, rng):
    encoding = encoding_named(name)
    patterns = some_patterns(encoding, rng)
    patterns[3] = np.sign(patterns[3]) if name == "bits" else 0
    if name in ("float16", "float32"):  # below the smallest normal half, which no machine may flush
        patterns[4] = 3e-7
    patterns[3] = patterns[2]
    codes, scale = encoding.encode(patterns)
    d = patterns.shape[1]
    assert codes.shape == (13, encoding.width(d))
    assert codes.dtype == encoding.dtype
    truth = stored(encoding, codes, scale, d)
    assert (truth == truth.astype(np.float32)).all()
    np.testing.assert_array_equal(encoding.decode(codes, scale, d), truth)
    assert encoding.decode(codes, scale, d).dtype == np.float32
    as_traced = jax.jit(lambda e, c, s: e.decode(c, s, d))
    np.testing.assert_array_equal(as_traced(encoding, jnp.asarray(codes), scale), truth)
    # Fused into a subtraction, where a compiler may keep more digits of a product than float32 has.
    apart = jax.jit(lambda e, c, s, y: e.decode(c, s, d) - y)
    assert (apart(encoding, jnp.asarray(codes), scale, jnp.asarray(truth, jnp.float32)) == 0).all()


finite32 = st.floats(-(2.0**127), 2.0**127, width=32)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (3, 5), elements=finite32))
def test_int8_rounds_to_nearest_and_never_overflows(patterns):
    codes, scale = Int8().encode(patterns)
    assert codes.min() >= -127
    truth = codes * scale.astype(np.float64)[:, None]
    assert (np.abs(patterns - truth) <= scale[:, None].astype(np.float64) / 2).all()
    np.testing.assert_array_equal(Int8().decode(codes, scale, 5), truth)
    used = np.maximum(np.abs(patterns).max(axis=1), 127 * 2.0**-126)
    assert (scale <= used / 127 * (1 + 2.0**-15)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_bits_keep_every_sign_at_any_width(d, seed):
    patterns = np.sign(np.random.default_rng(seed).standard_normal((4, d)))
    codes, scale = Bits().encode(patterns)
    assert codes.nbytes == 4 * -(-d // 8)
    np.testing.assert_array_equal(Bits().decode(codes, scale, d), patterns)


def test_float32_is_not_copied(rng):
    patterns = rng.standard_normal((5, 3)).astype(np.float32)
    assert Float32().encode(patterns)[0] is patterns


def test_bytes_of_a_row():
    assert {name: encoding.row_bytes(64) for name, encoding in ENCODINGS.items()} == {
        "float32": 256,
        "float16": 128,
        "int8": 68,
        "bits": 8,
    }


@pytest.mark.parametrize(
    ("encoding", "patterns", "words"),
    [
        (Float32(), [[1.0, np.nan]], "1 NaN or infinite"),
        (Int8(), [[np.inf]], "1 NaN or infinite"),
        (Float16(), [[7e4, 1.0]], "up to 7e.04 for float16"),
        (Float32(), [[1e39]], "up to 1e.39 for float32"),
        (Int8(), [[3.4028235e38]], "for int8"),
        (Bits(), [[1.0, 0.5]], "such as 0.5"),
        (Bits(), [[1.0, np.nan]], "such as nan"),
        (Float32(), [1.0, 2.0], r"shape \(2,\)"),
        (Float32(), np.zeros((2, 0)), r"shape \(2, 0\)"),
        (Float32(), [["a"]], "real numbers"),
        (Float32(), [[1.0], [1.0, 2.0]], "different lengths"),
    ],
)
def test_what_cannot_be_held_is_refused_in_one_line(encoding, patterns, words):
    with pytest.raises(InputError, match=f"patterns: .*{words}") as error:
        encoding.encode(patterns)
    assert "\n" not in str(error.value)


def test_names_are_known():
    with pytest.raises(InputError, match="encoding: got 'float8'; float32, float16, int8, bits are accepted"):
        encoding_named("float8")
