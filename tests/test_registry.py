from dataclasses import dataclass
from typing import Any

import pytest

from foveal_env.registry import Registry, build, options_of


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A group of options."""

    side: int = 3
    name: str = "square"


class Thing:
    """Takes a group and options of its own."""

    def __init__(self, label: str, shape: Shape = Shape(side=5), *, weight: float = 1.0):
        self.label, self.shape, self.weight = label, shape, weight


class Anything(Thing):
    """Takes any option besides."""

    def __init__(self, label: str = "x", **more: Any):
        super().__init__(label)
        self.more = more


THINGS = Registry("thing", {"thing": f"{__name__}:Thing", "any": f"{__name__}:Anything"}, base=f"{__name__}:Thing")


def test_the_fields_of_a_group_are_options():
    options = options_of(Thing)
    assert list(options) == ["label", "side", "name", "weight"]
    assert options["side"].default == 5
    assert options["side"].group == "shape"
    assert options["side"].owner is Shape
    assert options["weight"].annotation is float


def test_flat_options_fill_a_group():
    thing = build(Thing, label="a", name="circle")
    assert thing.shape == Shape(side=5, name="circle")
    assert build(Thing, label="a").shape == Shape(side=5)
    assert build(Thing, label="a", shape=Shape(side=1)).shape.side == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "a", "syde": 1}, "no option 'syde'; known: label, side, name, weight"),
        ({"label": "a", "shape": Shape(), "side": 1}, "give either shape or side"),
    ],
    ids=["unknown", "twice"],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(TypeError, match=message):
        build(Thing, **options)


def test_keywords_take_what_is_left():
    assert build(Anything, label="a", other=1).more == {"other": 1}


def test_names_lead_to_classes_and_back():
    assert THINGS.resolve("thing") is Thing
    assert THINGS.resolve(f"{__name__}:Anything") is Anything
    assert THINGS.name_of(Thing) == "thing"
    assert THINGS.name_of(Shape) == f"{__name__}:Shape"
    assert THINGS.make("thing", label="a", side=2).shape.side == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "unknown thing 'nope'; known: any, thing"),
        ("no.such.module:Thing", "cannot be imported"),
        (f"{__name__}:Missing", "cannot be imported"),
        ("subprocess:run", "'subprocess:run' is not a subclass of"),
    ],
    ids=["unknown", "no module", "no class", "a function"],
)
def test_names_that_lead_nowhere_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        THINGS.make(name)
