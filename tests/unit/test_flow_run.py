"""The private names of Prefect that the command of a container replaces or calls."""

from __future__ import annotations

import inspect

from prefect.cli import flow_run

from infra.flow_run import STARTER, EngineStarter


def test_prefects_command_uses_the_class_that_is_replaced():
    assert f"starter = {STARTER}(" in inspect.getsource(flow_run.execute)


def test_the_replacement_has_the_interface_of_prefects_class():
    replaced = getattr(flow_run, STARTER)
    accepted = inspect.signature(replaced).parameters
    required = {name for name, parameter in accepted.items() if parameter.default is parameter.empty}
    assert required <= inspect.signature(EngineStarter).parameters.keys() <= accepted.keys()
    public = {name for name in dir(replaced) if not name.startswith("_")}
    assert public <= set(dir(EngineStarter)) | {"hook_runner"}
