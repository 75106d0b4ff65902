"""A few thousand of the random certificates that `python -m benchmarks.certificates` has a hundred thousand of."""

from benchmarks import certificates


def test_no_random_certificate_is_violated():
    assert certificates.main(quick=True, seed=1) == 0
