"""The site, which `make site` builds from these pages and from the docstrings."""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import Any

from sphinx.application import Sphinx

from aloha_marl import __version__
from aloha_marl.integrations import requirements

project = "aloha_marl"
author = "The aloha_marl developers"
project_copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_*", "results"]

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3
# The notebook is stored without outputs: a build runs it, and fails where it fails.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_use_ivar = True
# The adapters are described without the libraries they adapt to.
autodoc_mock_imports = ["benchmarl", "ray", "stable_baselines3", "tensordict", "torch", "torchrl"]
requirements.__dict__["library"] = lambda extra: contextlib.nullcontext()

# A name of the package leads somewhere, but for inner types in signatures; other projects' do not.
nitpicky = True
INNER = r"aloha_marl\.(core\.core|core\.metrics\.Metrics|datasets\.(layout|export)|envs\.episodes|"
INNER += r"rendering|scene\.sensors)"
nitpick_ignore_regex = [(r"py:.*", r"(?!aloha_marl).*"), (r"py:(class|mod)", rf"{INNER}\b.*")]


def markdown_to_rst(
    app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]
) -> None:
    """Rewrites the headings and tables of a docstring, which are Markdown to read well in code."""
    text = "\n".join(lines) + "\n"
    text = re.sub(r"^#+ (.*)$", r"\n.. rubric:: \1\n", text, flags=re.MULTILINE)
    # "width, height: of pictures" is a line for each in napoleon's form.
    text = re.sub(r"^( +)(\w+(?:, \w+)+): (.*\n(?:\1 +.*\n)*)", _one_each, text, flags=re.MULTILINE)
    lines[:] = re.sub(r"(?:^ *\|.*\|\n)+", _list_table, text, flags=re.MULTILINE).splitlines()
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # napoleon takes what stands before a colon in line 1 for a type


def _one_each(entry: re.Match[str]) -> str:
    return "".join(f"{entry[1]}{name}: {entry[3]}" for name in entry[2].split(", "))


def _list_table(table: re.Match[str]) -> str:
    rows = [re.split(r" *\| *", line.strip().strip("|").strip()) for line in table[0].splitlines()]
    del rows[1]  # the dashes
    cells = [
        f"   {'*' if i == 0 else ' '} - \\ {cell}" for row in rows for i, cell in enumerate(row)
    ]
    return "\n".join(["", ".. list-table::", "   :header-rows: 1", "", *cells, "", ""])


def own_signature(
    app: Sphinx, what: str, name: str, item: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """The arguments of ``__init__`` where a class has a ``__new__`` that takes everything."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    arguments = list(inspect.signature(item.__init__).parameters.values())[1:]
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in arguments]
    found = str(inspect.Signature(plain))
    return ("" if found == signature else found), returns  # protocols are not called


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", markdown_to_rst, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", own_signature)
