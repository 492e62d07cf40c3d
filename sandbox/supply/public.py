"""The registries that npm, uv and pip ask where no setting names another, and where those keep files (P).

The one file that names them: everything else says which one it means.
"""

from __future__ import annotations

NPM = "registry.npmjs.org"
PYPI = "pypi.org"
PYPI_FILES = "files.pythonhosted.org"
PYPI_TEST = "test.pypi.org"
PYPI_TEST_FILES = "test-files.pythonhosted.org"
