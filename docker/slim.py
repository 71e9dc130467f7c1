"""Remove from a virtual environment what neither a flow run, a worker nor the Prefect server loads.

Runs in the build stage of the image, before bytecode is compiled. Every line of the table was seen to save space, and
the image's tests import and use what stays. A pattern that matches nothing fails the build: the package changed, and
the line has to be looked at again.

    python slim.py SITE_PACKAGES
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Pattern under site-packages -> why nothing misses it.
UNUSED = {
    "googleapiclient/discovery_cache/documents": "descriptions of Google services that discovery.build() alone reads",
    "pyarrow/libarrow_flight.so.*": "Flight RPC, a server protocol; pyarrow.flight alone links it",
    "pyarrow/libarrow_python_flight.so*": "the same",
    "pyarrow/_flight.*.so": "the same",
    "pyarrow/libarrow_s3.so.*": "Amazon S3; pyarrow.fs imports it only if it is there",
    "pyarrow/_s3fs.*.so": "the same",
    "pyarrow/libarrow_python.so": "a copy for linkers of libarrow_python.so.<version>, which is what is loaded",
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

# Sources that only compilers and type checkers read.
UNREAD_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cpp", ".a", ".map"}


def size(path: Path) -> int:
    """Bytes in a file, or in all files below a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def remove(path: Path) -> int:
    """Delete a file or a directory and return how many bytes it had."""
    freed = size(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return freed


def slim(site: Path) -> int:
    """Remove all of the above from `site` and return the bytes freed.

    Raises:
        SystemExit: a pattern of the table matches nothing.
    """
    freed = 0
    for pattern, reason in UNUSED.items():
        found = list(site.glob(pattern))
        if not found:
            sys.exit(f"slim: nothing matches {pattern} ({reason}): drop the line or mend it")
        freed += sum(remove(path) for path in found if path.exists())
    unread = [path for path in site.rglob("*") if path.is_file() and path.suffix in UNREAD_SUFFIXES]
    return freed + sum(remove(path) for path in unread)


if __name__ == "__main__":
    freed = slim(Path(sys.argv[1]))
    print(f"slim: {freed / 1e6:.0f} MB removed")
