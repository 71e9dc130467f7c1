"""`make new`: the three files of a new pipeline: a dataset, its deployments and a test."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from string import Template

from infra.command_line import one_line_for
from infra.settings import ROOT

TEMPLATES = Path(__file__).parent / "templates"
# Template -> the file that is written.
FILES = {
    "dataset.txt": "flows/datasets/{name}.py",
    "deployment.txt": "deployments/load_{name}.py",
    "test.txt": "tests/integration/test_{name}.py",
}


class CannotScaffold(ValueError):
    """The files cannot be written; the message is one line."""


def scaffold(name: str, root: Path = ROOT) -> list[Path]:
    """Write the files of a new pipeline below `root`. Returns their paths.

    Raises CannotScaffold, and writes nothing, if the name is not a lower-case Python name or one of the files exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise CannotScaffold(f"{name!r} is not a pipeline name: use lower-case letters, digits and underscores")
    files = {template: root / path.format(name=name) for template, path in FILES.items()}
    if existing := [str(path.relative_to(root)) for path in files.values() if path.exists()]:
        raise CannotScaffold(f"{', '.join(existing)} exists already: choose another name")
    for template, path in files.items():
        text = Template((TEMPLATES / template).read_text(encoding="utf-8"))
        path.write_text(text.substitute(name=name, NAME=name.upper()), encoding="utf-8")
    return list(files.values())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("taxiway: usage: make new PIPELINE=name")
    with one_line_for(CannotScaffold):
        for written in scaffold(sys.argv[1]):
            print(f"taxiway: wrote {written.relative_to(ROOT)}")
