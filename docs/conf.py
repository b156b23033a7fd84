"""Sphinx: every Markdown page of the repository, laid out as the repository is.

The source is the repository's root, so a relative link leads to the same place here and where the files are browsed: to
a page, or to a file, which is copied. `make docs` fails where a page, an anchor or a file is missing.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

project = "cerebros-processor"
[version] = re.findall(r'^__version__ = "(.+)"$', (ROOT / "processor" / "__init__.py").read_text(), re.MULTILINE)
release = version

extensions = ["myst_parser"]
myst_heading_anchors = 4  # named as repository hosts name them

root_doc = "docs/index"
include_patterns = ["*.md", "benchmarks/*.md", "docs/**.md"]
exclude_patterns = [".*", "build"]
nitpicky = True
highlight_language = "text"
smartquotes = False  # text is shown as it is typed

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_copyright = False
# the pages are below docs/ as in the repository; who opens the site's root is sent there
html_extra_path = ["site"]
