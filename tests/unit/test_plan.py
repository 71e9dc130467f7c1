"""The plan as pure data: for any declarations and any server, carrying it out leaves nothing to do, and nothing foreign
is ever deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.deploy.kinds import KINDS
from infra.deploy.model import Action, Actual, Change, Desired, Verb
from infra.deploy.plan import ADDED_BY_HAND, changing, plan

SECRET = "a secret value"
SWITCH = {kind.name: kind.switch for kind in KINDS.values() if kind.switch}


def verbs(actions: list[Action]) -> list[tuple[str, str]]:
    return [(str(action.verb), action.name) for action in actions]


def deployment(name: str = "flow/one", **fields) -> Desired:
    return Desired("deployment", name, {"version": "abc", "paused": False, **fields})


def schedule(slug: str = "t-monthly", parent: str = "flow/one", **fields) -> Desired:
    return Desired(
        "schedule", f"{parent}#{slug}", {"schedule": {"cron": "0 5 1 * *"}, "active": True, **fields}, parent=parent
    )


def on_server(thing: Desired, *, ours: bool = True, **fields) -> Actual:
    return Actual(thing.kind, thing.name, {**thing.fields, **fields}, f"id of {thing.name}", ours, parent=thing.parent)


def test_objects_are_created_in_the_order_of_their_dependencies():
    desired = [
        schedule(),
        deployment(),
        Desired("block", "secret/x", {"value": 1}),
        Desired("work pool", "taxi", {"type": "process"}),
    ]
    assert [action.kind for action in plan(desired, [])] == ["work pool", "block", "deployment", "schedule"]


def test_an_update_has_the_path_and_both_values_of_a_nested_field():
    desired = deployment(job_variables={"env": {"A": "1", "B": "2"}}, tags=["t"])
    found = on_server(desired, job_variables={"env": {"A": "1", "B": "3"}})
    (action,) = plan([desired], [found])
    assert action.verb is Verb.UPDATE
    assert action.changes == (Change(("job_variables", "env", "B"), "3", "2"),)
    assert action.fields == {"job_variables": {"env": {"A": "1", "B": "2"}}}


def test_a_changed_secret_is_in_the_plan_without_its_value():
    desired = Desired("block", "secret/x", {"value": {"inner": SECRET}, "user": "me"}, secrets=frozenset({"value"}))
    found = on_server(desired, value={"inner": "another secret value"})
    (action,) = plan([desired], [found])
    assert action.changes == (Change(("value",), None, None, secret=True),)
    assert "secret value" not in repr(action.changes)
    assert verbs(plan([desired], [on_server(desired)])) == [("unchanged", "secret/x")]


def test_a_manual_pause_is_kept_while_other_fields_are_updated():
    found = on_server(deployment(), paused=True, version="old")
    actions = plan([deployment()], [found])
    assert verbs(actions) == [("update", "flow/one"), ("kept", "flow/one")]
    assert actions[0].fields == {"version": "abc"}
    assert actions[1].note == "paused by hand"


def test_reset_overwrites_a_manual_pause():
    (action,) = plan([deployment()], [on_server(deployment(), paused=True)], reset=True)
    assert action.fields == {"paused": False}


def test_a_schedule_switched_off_by_hand_stays_off():
    found = [on_server(deployment()), on_server(schedule(), active=False)]
    actions = plan([deployment(), schedule()], found)
    assert not changing(actions)
    assert actions[-1].note == "switched off by hand"
    (changed,) = changing(plan([deployment(), schedule()], found, reset=True))
    assert changed.fields == {"active": True}


def test_a_schedule_added_by_hand_is_kept_and_listed():
    by_hand = replace(on_server(schedule("mine"), ours=False), about="cron '0 1 * * *' UTC")
    actions = plan([deployment()], [on_server(deployment()), by_hand])
    assert not changing(actions)
    assert (actions[-1].verb, actions[-1].note) == (Verb.KEPT, f"{ADDED_BY_HAND}: cron '0 1 * * *' UTC")


def test_our_schedule_that_is_no_longer_declared_is_deleted():
    dropped = on_server(schedule("t-weekly"))
    assert verbs(changing(plan([deployment()], [on_server(deployment()), dropped]))) == [
        ("delete", "flow/one#t-weekly")
    ]


def test_only_our_deployment_is_deleted_and_its_schedules_with_it():
    mine, other = deployment("flow/gone"), deployment("flow/theirs")
    found = [on_server(mine), on_server(schedule(parent="flow/gone")), on_server(other, ours=False)]
    assert verbs(plan([], found)) == [("delete", "flow/gone"), ("kept", "flow/theirs")]


def test_the_plan_lists_manual_schedules_of_a_deployment_that_it_deletes():
    by_hand = replace(on_server(schedule(parent="flow/gone"), ours=False), about="cron '0 1 * * *' UTC")
    (gone,) = plan([], [on_server(deployment("flow/gone")), by_hand])
    assert (gone.verb, gone.note) == (Verb.DELETE, f"with what was {ADDED_BY_HAND}: cron '0 1 * * *' UTC")


def test_without_prune_only_schedules_of_declared_deployments_are_deleted():
    found = [on_server(deployment()), on_server(deployment("flow/gone")), on_server(schedule("t-old"))]
    assert verbs(changing(plan([deployment()], found, prune=False))) == [("delete", "flow/one#t-old")]


def test_an_object_of_others_under_a_declared_name_is_a_conflict_and_gets_no_parts():
    desired = [deployment(), schedule()]
    theirs = replace(on_server(deployment()), ours=False, owner="t-dev")
    (action,) = plan(desired, [theirs])
    assert (action.verb, action.note) == (Verb.CONFLICT, "made by deploys under the tag t-dev")
    assert changing([action]) == []


def test_an_object_of_others_that_is_as_declared_is_used():
    pool = Desired("work pool", "taxi", {"type": "process"})
    assert verbs(plan([pool], [on_server(pool, ours=False)])) == [("unchanged", "taxi")]
    assert verbs(plan([pool], [on_server(pool, ours=False, type="docker")])) == [("conflict", "taxi")]


@pytest.mark.parametrize("before", [True, False])
def test_a_switch_changed_in_the_code_is_not_taken_for_a_manual_change(before):
    found = replace(on_server(schedule(), active=before), last=before)
    parent = on_server(deployment())
    (changed,) = changing(plan([deployment(), schedule(active=not before)], [parent, found]))
    assert changed.fields == {"active": not before}
    by_hand = replace(found, last=not before)
    assert changing(plan([deployment(), schedule(active=not before)], [parent, by_hand])) == []


# Any declarations, any server

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2),
    max_leaves=4,
)
deployment_names = st.sampled_from(["f/one", "f/two", "g/one"])
slugs = st.sampled_from(["t-a", "t-b", "by-hand"])


@st.composite
def fields_of(draw, kind: str):
    fields = draw(st.fixed_dictionaries({"x": values, "y": values}))
    return fields | ({SWITCH[kind]: draw(st.booleans())} if kind in SWITCH else {})


@st.composite
def identities(draw):
    kind = draw(st.sampled_from(list(KINDS)))
    if kind != "schedule":
        return kind, draw(deployment_names), None
    parent = draw(deployment_names)
    return kind, f"{parent}#{draw(slugs)}", parent


@st.composite
def declarations(draw):
    found = {}
    for kind, name, parent in draw(st.lists(identities(), max_size=6)):
        if parent:  # no schedule without its deployment
            found.setdefault(("deployment", parent), Desired("deployment", parent, draw(fields_of("deployment"))))
        secrets = draw(st.sets(st.sampled_from(["x", "y"])))
        found[kind, name] = Desired(kind, name, draw(fields_of(kind)), frozenset(secrets), parent)
    return list(found.values())


@st.composite
def servers(draw):
    """Each with how the last deploy left its switch, or not known."""
    found = {}
    for kind, name, parent in draw(st.lists(identities(), max_size=6)):
        if parent:
            there = Actual("deployment", parent, draw(fields_of("deployment")), "id", draw(st.booleans()))
            found.setdefault(("deployment", parent), there)
        extra = {"z": draw(values)}
        last = draw(st.none() | st.booleans())
        found[kind, name] = Actual(
            kind, name, draw(fields_of(kind)) | extra, "id", draw(st.booleans()), parent, last=last
        )
    return list(found.values())


def carried_out(found: list[Actual], actions: list[Action]) -> list[Actual]:
    """What a server has afterwards, by what an action says of itself; a deployment's schedules go with it."""
    there = {(thing.kind, thing.name): thing for thing in found}
    for action in changing(actions):
        key = (action.kind, action.name)
        if action.verb is Verb.DELETE:
            del there[key]
            if action.kind == "deployment":
                there = {other: thing for other, thing in there.items() if thing.parent != action.name}
        elif action.verb is Verb.CREATE:
            assert key not in there
            there[key] = Actual(*key, action.fields, "new id", ours=True, parent=action.desired.parent)
        else:
            there[key] = replace(there[key], fields={**there[key].fields, **action.fields})
    for action in actions:  # as the record has it then
        key = (action.kind, action.name)
        if key in there and action.desired and there[key].ours and action.kind in SWITCH:
            there[key] = replace(there[key], last=action.desired.fields[SWITCH[action.kind]])
    return list(there.values())


@given(declarations(), servers(), st.booleans(), st.booleans())
def test_after_a_plan_is_applied_the_next_one_is_empty(desired, found, reset, prune):
    actions = plan(desired, found, reset=reset, prune=prune)
    assert changing(plan(desired, carried_out(found, actions), reset=reset, prune=prune)) == []


@given(declarations(), servers(), st.booleans(), st.booleans())
def test_objects_that_are_not_ours_are_never_changed(desired, found, reset, prune):
    foreign = {(thing.kind, thing.name) for thing in found if not thing.ours}
    for action in changing(plan(desired, found, reset=reset, prune=prune)):
        assert (action.kind, action.name) not in foreign
        parent = action.desired and action.desired.parent
        assert ("deployment", parent) not in foreign


@settings(max_examples=50)
@given(declarations(), servers())
def test_a_manual_switch_is_never_among_the_changes(desired, found):
    switched = {
        (there.kind, there.name)
        for there in found
        for thing in desired
        if (thing.kind, thing.name) == (there.kind, there.name)
        and thing.kind in SWITCH
        and there.fields[SWITCH[thing.kind]] not in (thing.fields[SWITCH[thing.kind]], there.last)
    }
    for action in plan(desired, found):
        if (action.kind, action.name) in switched and action.verb is Verb.UPDATE:
            assert SWITCH[action.kind] not in action.fields


@settings(max_examples=50)
@given(declarations(), servers())
def test_every_declared_object_is_in_the_plan_once(desired, found):
    named = [(action.kind, action.name) for action in plan(desired, found) if action.verb is not Verb.KEPT]
    assert len(set(named)) == len(named)
    foreign = {thing.name for thing in found if thing.kind == "deployment" and not thing.ours}
    assert {(thing.kind, thing.name) for thing in desired if thing.parent not in foreign} <= set(named)


@settings(max_examples=50)
@given(declarations(), servers())
def test_the_value_of_a_secret_is_never_in_a_change(desired, found):
    for action in plan(desired, found):
        for change in action.changes:
            if change.path[0] in action.desired.secrets:
                assert (change.old, change.new, change.secret) == (None, None, True)
