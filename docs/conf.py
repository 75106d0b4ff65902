"""The documentation site: `make docs` builds it into site/, with every example run and every warning an error."""

import os
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Examples are many small programs; the compiler's full effort is not worth its time here, as in tests/conftest.py.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = (
        "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    )
    if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

# The two processes that read pages, and the next build, share compiled programs; `site/` is not part of the repository.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = Path(__file__).parent.parent / "site" / ".programs"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

from dispersed import __version__

project = "dispersed"
author = "The dispersed developers"
copyright = "The dispersed developers, Apache-2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "equations",
    "examples",
    "docstrings",
]
exclude_patterns = ["extensions"]
default_role = "py:obj"  # docstrings are prose with `names`: links where they name something of ours
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # extensions/docstrings.py writes them, in few words
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {
    "members": True,
    "inherited-members": "Module,tuple",
    "show-inheritance": True,
}

html_theme = "furo"
html_title = f"dispersed {version}"
html_theme_options = {
    "light_css_variables": {
        "font-stack": "system-ui, sans-serif",
        "font-stack--monospace": "ui-monospace, monospace",
    },
}
html_static_path = ["static"]
html_extra_path = ["results"]  # the report of all experiments
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "tango"
