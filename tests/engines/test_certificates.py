"""Three hundred certificates of the kinds that `python -m benchmarks.certificates` checks a hundred thousand of."""

from benchmarks import certificates


def test_no_random_certificate_is_violated():
    assert certificates.main(quick=True, seed=1) == 0
