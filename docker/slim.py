"""Remove parts of a virtual environment that flow runs, the worker and the Prefect server do not load.

Runs in the image's build stage, before bytecode is compiled. The image's tests import and use the packages that are
changed. A pattern that matches nothing fails the build: the package has changed, and the line needs a review.

    python slim.py SITE_PACKAGES
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Pattern under site-packages -> why it is not needed.
UNUSED = {
    "googleapiclient/discovery_cache/documents": "descriptions of Google services, used only by discovery.build()",
    "pyarrow/libarrow_flight.so.*": "Flight RPC, a server protocol, used only by pyarrow.flight",
    "pyarrow/libarrow_python_flight.so*": "the same",
    "pyarrow/_flight.*.so": "the same",
    "pyarrow/libarrow_s3.so.*": "Amazon S3; pyarrow.fs imports it only if it exists",
    "pyarrow/_s3fs.*.so": "the same",
    "pyarrow/libarrow_python.so": "a copy of libarrow_python.so.<version> for linkers; the latter is loaded",
    "pyarrow/libarrow_python.so.*.*": "the same",
    "pyarrow/include": "C++ headers",
    "pyarrow/src": "C++ sources",
    "pyarrow/includes": "Cython declarations",
    "pyarrow/_pyarrow_cpp_tests.*.so": "C++ tests",
    "numpy/f2py": "a Fortran wrapper generator",
    "numpy/_core/include": "C headers",
    "sqlalchemy/testing": "a test harness for database dialects",
    "**/tests": "test suites inside packages",
}

# Files that only compilers and type checkers read.
UNUSED_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cpp", ".a", ".map"}


def size(path: Path) -> int:
    """Bytes in a file, or in all files below a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def remove(path: Path) -> int:
    """Delete a file or a directory and return its size in bytes."""
    freed = size(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return freed


def slim(site: Path) -> int:
    """Remove the unused files from `site` and return the bytes freed.

    Raises:
        SystemExit: a pattern of the table matches nothing.
    """
    freed = 0
    for pattern, reason in UNUSED.items():
        matches = list(site.glob(pattern))
        if not matches:
            sys.exit(f"slim: nothing matches {pattern} ({reason}); correct or remove the line")
        freed += sum(remove(path) for path in matches if path.exists())
    unused = [path for path in site.rglob("*") if path.is_file() and path.suffix in UNUSED_SUFFIXES]
    return freed + sum(remove(path) for path in unused)


if __name__ == "__main__":
    freed = slim(Path(sys.argv[1]))
    print(f"slim: {freed / 1e6:.0f} MB removed")
