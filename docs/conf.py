"""How the documentation is built: no network, warnings are errors, nothing described twice."""

import sys
from importlib.metadata import version as _version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "collapselab"
author = "The collapselab developers"
copyright = "The collapselab developers"
release = version = _version("collapselab")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",  # formulas without a script from the network
    "prose",  # docstrings may write $x$ and `x`
    "catalogue",  # pages made from the registry, the bibliography and the packages
]

exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = "collapselab"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Built without the inventories of other projects (that would need the network): their names stay plain text.
_elsewhere = "torch|numpy|jaxtyping|pydantic|pydantic_core|collections|typing|types|pathlib|os|np|argparse|lightning"
nitpick_ignore_regex = [
    (r"py:.*", rf"({_elsewhere})(\..*)?"),
    (r"py:.*", r"(abc\.)?(Tensor|Float|Int|Bool|Shaped|Array|ndarray|Module|Path|PathLike|Generator|device|dtype)"),
    (r"py:.*", r"(Any|Callable|Iterable|Iterator|Sequence|Mapping|Literal|Protocol|Generic|TypeVar|Optional)"),
    (r"py:.*", r"(str|int|float|bool|bytes|tuple|list|dict|set|frozenset|object|None|type|slice|range|optional)"),
    (r"py:.*", r"'[a-z .*]*'"),  # names of axes
    (r"py:.*", r"collapselab\..*\.[A-Z]"),  # type variables
    (r"py:class", r"(FieldInfo|NoneType|(dict|tuple)\[.*)"),  # parts of signatures that pydantic makes
    (r"py:class", r"collapselab(\.\w+){3,}"),  # not exported by its package, so it has no entry of its own
    (r"py:exc", r"[A-Z][A-Za-z]*"),  # errors are named without their module in Raises
]
