"""The generator of command lines, on a toy program: a function is a command, a signature its options."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from foveal_env.cli import Program, alone_in
from foveal_env.options import Options, PlugIns
from foveal_env.registry import Registry

CALLS = []


class Shape:
    """Base of shapes.

    Args:
        size: side in px.
    """

    def __init__(self, *, size: int = 3):
        self.size = size


class Square(Shape):
    """A square.

    Args:
        is_filled: whether it is filled.
    """

    def __init__(self, *, size: int = 4, is_filled: bool = False):
        super().__init__(size=size)


class Anything(Shape):
    """A shape that takes any keywords."""

    def __init__(self, *, size: int = 5, **more: Any):
        super().__init__(size=size)


@dataclass(frozen=True)
class Pen:
    """A pen.

    Args:
        width: width in px.
        colour: name of the colour.
    """

    width: float = 1.0
    colour: str | None = "red"


def canvas(*, grid: tuple[int, int] = (2, 2), more: dict[str, Any] | None = None, split: str = "train"):
    """Make a canvas.

    Args:
        grid: rows and columns.
        more: further options.
        split: not an option of the program.
    """


SHAPES = Registry(
    "shape",
    {"plain": "test_cli:Shape", "square": "test_cli:Square", "anything": "test_cli:Anything"},
    base="test_cli:Shape",
)
Canvas = Annotated[dict[str, Any], Options((canvas, Pen), skip={"split"})]
Shapes = Annotated[dict[str, dict[str, Any]], PlugIns(SHAPES, ("shape", "others"))]


def draw(
    on: Canvas,
    shapes: Shapes,
    *,
    command: str,
    shape: str = "square",
    others: Sequence[str] = (),
    resume: bool = False,
    is_fast: bool = True,
    steps: int = 10,
    out: str,
) -> None:
    """Draw shapes. And more.

    Args:
        on: options of the canvas.
        shapes: options of each shape.
        command: what was typed.
        shape: name of the shape.
        others: names of others.
        resume: go on.
        is_fast: whether it is quick.
        steps: number of steps.
        out: output folder.
    """
    if steps == 13:
        raise ValueError("13 brings\nbad luck")
    if steps == 14:
        raise KeyboardInterrupt
    CALLS.append({"on": on, "shapes": shapes, "command": command, "others": list(others), "is_fast": is_fast})


def erase(pen: Pen = Pen(2.0), *, command: str, files: list[str], out: str) -> None:
    """Erase files.

    Args:
        pen: what erases.
        command: what was typed.
        files: files to erase.
        out: output folder.
    """
    CALLS.append({"pen": pen, "files": files})


PROGRAM = Program("python toy.py", "A toy.", {"draw": draw, "erase": erase}, ("draw", "--steps", "3"), {"out", "steps"})


@pytest.fixture
def call(tmp_path):
    """Run words with an output folder; return what the command was called with."""
    CALLS.clear()

    def run(*words, out="out"):
        PROGRAM.run([*words, "--out", str(tmp_path / out)])
        return CALLS[-1]

    return run


def record(tmp_path, out="out"):
    return json.loads((tmp_path / out / "run.json").read_text())


def test_options_reach_the_parameter_that_takes_them(call):
    got = call("draw", "--grid", "[3, 4]", "--more", '{"a": [1, null]}', "--width", "2", "--square.size", "9")
    assert got["on"] == {"grid": (3, 4), "more": {"a": [1, None]}, "width": 2.0, "colour": "red"}
    assert got["shapes"] == {"square": {"size": 9, "is_filled": False}}


def test_a_dataclass_is_filled_from_flat_options(call):
    assert call("erase", "a.png", "b.png", "--colour", "null") == {"pen": Pen(2.0, None), "files": ["a.png", "b.png"]}


def test_flags_need_no_value_and_lists_no_brackets(call):
    got = call("draw", "--no_is_fast", "--square.is_filled", "--others", "plain", "anything", "--plain.size", "1")
    assert not got["is_fast"]
    assert got["others"] == ["plain", "anything"]
    assert got["shapes"] == {
        "square": {"size": 4, "is_filled": True},
        "plain": {"size": 1},
        "anything": {"size": 5},
    }


def test_a_plug_in_of_ones_own_has_its_class_as_prefix(call):
    assert call("draw", "--shape=test_cli:Square", "--square.size", "7")["shapes"]["test_cli:Square"]["size"] == 7


def test_a_plug_in_that_takes_any_keywords_has_those_that_are_typed(call, tmp_path):
    typed = ["draw", "--shape", "anything", "--anything.colour", "blue", "--anything.depth=0.5"]
    wanted = {"size": 5, "colour": "blue", "depth": 0.5}
    assert call(*typed)["shapes"]["anything"] == wanted
    assert call("--config", str(tmp_path / "out" / "run.json"))["shapes"]["anything"] == wanted


def test_without_a_command_the_main_job_runs(call, tmp_path):
    call("--width", "5")
    assert record(tmp_path)["draw"]["steps"] == 3
    assert record(tmp_path)["draw"]["width"] == 5


def test_the_command_that_is_recorded_begins_from_scratch(call, tmp_path):
    assert call("draw", "--steps", "5", "--resume")["command"] == f"python toy.py draw --steps 5 --out {tmp_path}/out"


def test_two_runs_do_not_share_a_folder(call, tmp_path):
    with alone_in(tmp_path / "out"), pytest.raises(SystemExit, match=r"another run writes to .*out: wait for its end"):
        call("draw")
    assert not CALLS
    assert call("draw")


def test_a_configuration_repeats_a_run(call, tmp_path):
    first = call("draw", "--colour", "null", "--square.size", "8", "--others", "plain")
    again = call("--config", str(tmp_path / "out" / "run.json"), out="again")
    assert {**again, "command": ""} == {**first, "command": ""}
    assert record(tmp_path)["draw"].pop("out") != record(tmp_path, "again")["draw"].pop("out")


def test_a_configuration_repeats_positional_arguments(call, tmp_path):
    first = call("erase", "a.png", "b.png")
    assert call("--config", str(tmp_path / "out" / "run.json")) == first
    assert call("--config", str(tmp_path / "out" / "run.json"), "c.png")["files"] == ["c.png"]


def test_a_configuration_can_be_yaml_and_changed(call, tmp_path):
    (tmp_path / "run.yaml").write_text("draw:\n  width: 1e-3\n  square: {size: 6}\n  more: {a: 1}\n")
    got = call("--config", str(tmp_path / "run.yaml"), "--width", "2")
    assert got["on"]["width"] == 2.0
    assert got["on"]["more"] == {"a": 1}
    assert got["shapes"]["square"]["size"] == 6


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.yaml", "width: 1e-3\nsquare: {size: 6}\n"), ("a.json", '{"draw": {"width": 0.001, "square": {"size": 6}}}')],
    ids=["options in YAML", "a run in JSON"],
)
def test_a_command_takes_a_file_of_its_options(name, content, call, tmp_path):
    (tmp_path / name).write_text(content)
    for words in (["--config", str(tmp_path / name)], [f"--config={tmp_path / name}", "--square.size", "6"]):
        got = call("draw", *words, "--overwrite")
        assert (got["on"]["width"], got["shapes"]["square"]["size"]) == (0.001, 6)
    with pytest.raises(SystemExit, match=r"has options of 'draw', not of 'erase'|unknown key 'square'"):
        call("erase", "a.png", "--config", str(tmp_path / name), out="erased")


@pytest.mark.parametrize(
    ("name", "content"), [("s.json", '{"size": 6, "is_filled": true}'), ("s.yaml", "size: 6\nis_filled: yes\n")]
)
def test_a_plug_in_takes_a_file_of_its_options(name, content, call, tmp_path):
    (tmp_path / name).write_text(content)
    assert call("draw", "--square", str(tmp_path / name))["shapes"]["square"] == {"size": 6, "is_filled": True}
    got = call("draw", f"--square={tmp_path / name}", "--square.size", "7", "--overwrite")
    assert got["shapes"]["square"] == {"size": 7, "is_filled": True}  # what is typed counts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"siez": 3}', "siez"),
        ("[1, 2]", "s.json does not hold options by name"),
        ("{", "s.json does not hold options by name"),
        (None, "s.json"),
    ],
    ids=["unknown", "a list", "damaged", "not there"],
)
def test_a_bad_file_of_a_plug_in_is_named(content, message, call, tmp_path):
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        call("draw", "--square", str(tmp_path / "s.json"))
    assert str(stop.value).startswith("toy.py: error: ")
    assert message in str(stop.value)


def results_of(tmp_path, out="out"):
    """Leave what a run that did something leaves."""
    (tmp_path / out / "results.json").write_text("{}")


def test_a_second_run_into_a_folder_is_refused(call, tmp_path):
    call("draw")
    call("draw", "--width", "2")  # the first one left nothing but its options
    results_of(tmp_path)
    for name, words in {"draw": ["draw"], "erase": ["erase", "a.png"]}.items():
        with pytest.raises(SystemExit) as stop:
            call(*words)
        also = ", or --resume to go on with it" if name == "draw" else ""
        refusal = f"{tmp_path / 'out'} holds a run of 'draw' already: choose another --out, or --overwrite{also}"
        assert str(stop.value) == f"toy.py: error: {refusal}"
    assert record(tmp_path)["draw"]["width"] == 2
    call("draw", "--width", "3", "--overwrite")
    assert record(tmp_path)["draw"]["width"] == 3
    assert "overwrite" not in record(tmp_path)["draw"]


def test_a_command_that_adds_files_does_so_in_its_own_folder_alone(call, tmp_path):
    program = PROGRAM._replace(adding={"erase"})
    for name in ("a.png", "b.png"):
        program.run(["erase", name, "--out", str(tmp_path / "out")])
        results_of(tmp_path)
    call("draw", out="drawn")
    results_of(tmp_path, "drawn")
    with pytest.raises(SystemExit, match="holds a run of 'draw' already"):
        program.run(["erase", "a.png", "--out", str(tmp_path / "drawn")])


def test_options_of_other_plug_ins_are_left_out_of_a_configuration(call, tmp_path):
    call("draw", "--square.size", "8")
    got = call("--config", str(tmp_path / "out" / "run.json"), "--shape", "plain")
    assert got["shapes"] == {"plain": {"size": 3}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--width", "5"], "whose width is 1.0, not 5.0; begin a new one in another --out"),
        (["--square.size", "5"], "whose square.size is 4, not 5; begin a new one"),
        (["--shape", "plain"], "whose shape is square, not plain"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_resuming_another_run_is_refused(words, message, call, tmp_path):
    call("draw")
    before = record(tmp_path)
    with pytest.raises(SystemExit) as stop:
        call("draw", "--resume", *words)
    assert message in str(stop.value)
    assert record(tmp_path) == before


def test_a_run_that_is_resumed_has_no_unknown_keys(call, tmp_path):
    call("draw")
    before = record(tmp_path)
    (tmp_path / "out" / "run.json").write_text(json.dumps({"draw": {**before["draw"], "widht": 3}}))
    with pytest.raises(SystemExit, match=r"run\.json: unknown key 'widht'"):
        call("draw", "--resume")
    older = {key: value for key, value in before["draw"].items() if key not in ("width", "others")}
    (tmp_path / "out" / "run.json").write_text(json.dumps({"draw": older}))  # of a release without these options
    call("draw", "--resume")


def test_resuming_may_change_what_is_named(call, tmp_path):
    call("draw")
    call("draw", "--resume", "--steps", "20")
    assert record(tmp_path)["draw"]["steps"] == 20
    with pytest.raises(SystemExit, match="is of 'draw', not of 'erase'"):
        (PROGRAM._replace(commands={"draw": draw, "erase": draw})).run(
            ["erase", "--resume", "--out", str(tmp_path / "out")]
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["drw"], "unknown command 'drw'; known: draw, erase"),
        (["draw", "--widht", "3"], "--widht 3; known: --colour --grid"),
        (["draw", "--shape", "nope"], "unknown shape 'nope'; known: anything, plain, square"),
        (["draw", "--others", "plain", "nope"], "unknown shape 'nope'"),
        (["draw", "--shape"], "expected one argument"),
        (["draw", "--shape", "test_cli:Shape"], "its options begin with 'shape', an option; rename the class"),
        (["draw", "--steps", "many"], "steps"),
        (["draw", "--grid", "[1]"], "grid"),
        (["draw", "--steps", "13"], "13 brings bad luck"),
        (["erase"], "files"),
        (["--config"], "--config needs the path of a .json or .yaml file"),
        (["draw", "--square"], "--square needs the path of a .json or .yaml file"),
        (["draw", "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--config", "/no/such.json"], "/no/such.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line_that_names_the_choices(words, message, tmp_path):
    with pytest.raises(SystemExit) as stop:
        PROGRAM.run([*words, *(["--out", str(tmp_path)] if words[0] in PROGRAM.commands else [])])
    assert str(stop.value).startswith("toy.py: error: ")
    assert "\n" not in str(stop.value)
    assert message in str(stop.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"draw": {"widht": 3}}', "; known: --colour"),
        ('{"draw": {"square": {"siez": 3}}}', "'square.siez' is not"),
        ('{"draw": {"sqare": {"size": 3}}}', "unknown key 'sqare'; known: --colour"),
        ('{"draw": {"width": "wide"}}', "width"),
        ('{"draw": {}, "erase": {}}', "holds one command"),
        ('{"paint": {"a": 1}}', ""),
        ("[1]", ""),
        ("{", ""),
    ],
)
def test_a_bad_configuration_is_named(content, message, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(SystemExit, match=r"toy.py: error: ") as stop:
        PROGRAM.run(["--config", str(tmp_path / "run.json"), "--out", str(tmp_path)])
    assert message in str(stop.value)


def test_errors_have_a_traceback_if_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEAL_DEBUG", "1")
    with pytest.raises(ValueError, match="bad luck"):
        PROGRAM.run(["draw", "--steps", "13", "--out", str(tmp_path)])


def test_an_interrupt_is_one_word(tmp_path):
    with pytest.raises(SystemExit, match=r"^stopped$"):
        PROGRAM.run(["draw", "--steps", "14", "--out", str(tmp_path)])


def test_help_says_what_each_option_means(capsys):
    with pytest.raises(SystemExit) as stop:
        PROGRAM.run(["draw", "--others", "plain", "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: toy.py draw" in text
    assert "Draw shapes." in text
    for option, meaning in {
        "--is_fast, --no_is_fast": "whether it is quick.",
        "--grid": "rows and columns.",  # of a function
        "--colour COLOUR": "name of the colour.",  # of a dataclass
        "--square.is_filled": "whether it is filled.",  # of a class
        "--square.size SIZE": "side in px.",  # of a base class
        "--plain.size SIZE": "side in px. (type: int, default: 3)",
    }.items():
        assert option in text
        assert meaning in text[text.rindex(option) :][: len(option) + 60]
    assert "--split" not in text


def test_the_overview_names_every_command(capsys):
    PROGRAM.run(["--help"])
    printed = capsys.readouterr().out
    for words in ("A toy.", "usage: python toy.py", "draw       Draw shapes.", "erase      Erase files."):
        assert words in printed
