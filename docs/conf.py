"""The site: `make docs`. Every page is checked, every notebook runs, and nothing is fetched when a page is opened."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # notebooks run beside each other
logging.getLogger("traitlets").setLevel(logging.WARNING)

from genkern import __version__  # noqa: E402

project = "genkern"
author = "the genkern authors"
copyright = "the genkern authors, Apache-2.0"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    # docs/extensions
    "docstrings",
    "mathml",
    "public",
    "questions",
    "repository",
]
exclude_patterns = ["checks", "extensions"]
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"torch\..*")]  # another site, which is not asked

# Markdown as GitHub reads it, and mathematics.
myst_enable_extensions = ["colon_fence", "dollarmath", "tasklist"]
myst_heading_anchors = 4
highlight_language = "default"

# Tutorials: a notebook runs again when it has changed; one that fails, fails the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS.parent / "build" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_render_markdown_format = "myst"  # of what cells give: tables

# The reference.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False  # methods are those that genkern documents, not torch's
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
default_role = "name"

# Appearance.
html_math_renderer = "mathml"
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "genkern"
html_static_path = ["static"]
html_css_files = ["genkern.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # would be fetched, which a page opened from a file may not do
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
