"""Associative memories and diffusion models as one family.

A memory is a distribution of states; noise disperses it; recall denoises it.
"""

import lazy_loader

__version__ = "0.1.0"

# JAX takes half a second to import; nobody should wait for it who types --help. The names and where they come from are
# in __init__.pyi, which type checkers read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
