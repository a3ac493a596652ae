"""What a file may ask for: no foreign code, no folders, no network, no memory without bound; damage is never silent."""

import itertools
import json
import resource
import sys
from contextlib import suppress

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import save

from benchmarks.reliability import crafted
from foveal_agents.base import make_agent
from foveal_agents.commands import main
from foveal_agents.policies import load_policy
from foveal_agents.policy_files import load_agent, read_policy
from foveal_env.checkpoint import metadata_of
from foveal_env.make import load_frozen, make_source, make_world
from foveal_env.perception import Perception
from foveal_env.pretraining import Pretraining

DIGITS = {"canvas": 40, "clutter": 2}
QUESTIONS = {"canvas": 180, "clutter": 1.0}
SEARCH = {"canvas": 70, "candidates": 3}


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny):
    """Paths of checkpoints of each kind: the perceptions, policies of one of them, a training to go on with."""
    folder = tmp_path_factory.mktemp("files")
    for task, source, options in (("classify", "digits", DIGITS), ("search", "search", SEARCH)):
        perception = Perception.build(make_source(source, "train", **options), task=task, **tiny)
        perception.save(folder / f"{source}.safetensors", source=source, source_options=options)
    several = Perception.build(make_source("questions", "train", **QUESTIONS), task="several", encoder="gru", width=12)
    several.save(folder / "questions.safetensors", source="questions", source_options=QUESTIONS)
    world = make_world(perception=str(folder / "digits.safetensors"), glimpses=2)
    for agent, options in (("grpo", {"num_scenes": 4, "width": 8}), ("ppo", {"num_envs": 2, "net_arch": [8]})):
        make_agent(agent, world, **options).save(folder / f"{agent}.safetensors")
    job = Pretraining(Perception.load(folder / "digits.safetensors"), world.source, steps=4, batch=4)
    job.update()
    job.save(folder / "training.safetensors")
    return {path.stem: path for path in folder.iterdir()}


KINDS = ("digits", "search", "questions", "grpo", "ppo", "training")


def use(path, files):
    """Load a checkpoint and use it, as somebody does who was sent it."""
    kind = next(kind for kind in KINDS if kind in path.stem)
    if kind in ("grpo", "ppo"):
        load_policy(path).predict(np.zeros(read_policy(path).header["observation_shape"], np.float32))
        load_agent(path, make_world(perception=str(files["digits"]), glimpses=2))
    elif kind == "training":
        perception = Perception.load(files["digits"])
        Pretraining(perception, make_source("digits", "train", **DIGITS), steps=4, batch=4).load(path)
    else:
        world = make_world(perception=path, glimpses=2)
        episode = world.start(world.scenes(torch.arange(1)))
        world.look(episode, torch.zeros(1, 2))


def rewritten(path, target, **changes):
    """Write a checkpoint with other entries in its header, and the hash that they need."""
    tensors, metadata = crafted.read(path.read_bytes())
    header = {**json.loads(metadata["header"]), **changes}
    target.write_bytes(save(tensors, metadata_of(metadata["kind"], tensors, json.dumps(header))))
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_checkpoint_is_used(kind, files):
    use(files[kind], files)


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_content_passes_for_what_was_saved(kind, files, tmp_path):
    other = {"digits": "search", "search": "questions", "questions": "digits", "grpo": "ppo", "ppo": "grpo"}.get(kind)
    others = files[other or "digits"].read_bytes()
    path = tmp_path / f"{kind}.safetensors"
    for _, data in itertools.islice(crafted.spliced(files[kind].read_bytes(), others, seed=0), 60):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"{kind}\.safetensors is damaged or was changed"):
            use(path, files)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_header_says_the_file_is_used_or_named(kind, files, tmp_path):
    refused = 0
    for number, (name, data) in enumerate(itertools.islice(crafted.mutated(files[kind].read_bytes(), seed=1), 80)):
        path = tmp_path / f"{kind}-{number}.safetensors"
        path.write_bytes(data)
        try:
            use(path, files)
        except ValueError as error:
            assert str(path) in str(error), name  # noqa: PT017
            refused += 1
    assert refused > 20


MODULE = """
print("CODE RAN")
from foveal_agents.scripted import Centre
from foveal_encoders.gru import Gru
from foveal_env.sources.digits import Digits
from foveal_env.tasks.classify import Classify
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that says when it runs, and has a class of every kind; it is not imported yet."""
    name = f"sent_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def header_of(path):
    return json.loads(crafted.read(path.read_bytes())[1]["header"])


def with_encoder(module, files):
    return "questions", {"encoder": f"{module}:Gru"}


def with_task(module, files):
    return "digits", {"task": f"{module}:Classify"}


def with_question(module, files):
    questions = header_of(files["questions"])["task_config"]["questions"]
    questions["large"]["task"] = f"{module}:Classify"
    return "questions", {"task_config": {"questions": questions}}


def with_source(module, files):
    return "digits", {"source": f"{module}:Digits"}


def with_pictures(module, files):
    return "questions", {"source_options": {**QUESTIONS, "pictures_from": f"{module}:Digits"}}


PLACES = (with_encoder, with_task, with_question, with_source, with_pictures)


@pytest.mark.parametrize("place", PLACES)
def test_a_perception_runs_no_code_unless_it_is_trusted(place, module, files, tmp_path, capsys):
    kind, changes = place(module, files)
    path = rewritten(files[kind], tmp_path / "sent.safetensors", **changes)
    for attempt in (
        lambda: gym.make("foveal_env/Classify-v0", perception=str(path)),
        lambda: main(["evaluate", "--perception", str(path), "--baselines", "centre", "--out", str(tmp_path / "out")]),
    ):
        with pytest.raises((ValueError, SystemExit), match=rf"sent\.safetensors .*{module}.*trust=True \(--trust\)"):
            attempt()
    assert "CODE RAN" not in capsys.readouterr().out
    assert module not in sys.modules
    with suppress(ValueError):  # a source asks other questions
        gym.make("foveal_env/Classify-v0", perception=str(path), trust=True)
    assert "CODE RAN" in capsys.readouterr().out


def test_a_policy_runs_no_code_unless_it_is_trusted(module, files, tmp_path, capsys):
    path = rewritten(files["grpo"], tmp_path / "sent.safetensors", agent=f"{module}:Centre", options={})
    world = make_world(perception=str(files["digits"]), glimpses=2)
    with pytest.raises(ValueError, match=rf"sent\.safetensors names the agent '{module}:Centre'.*trust=True"):
        load_agent(path, world)
    assert "CODE RAN" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="do not fit"):  # it learns nothing, and has nothing to restore
        load_agent(path, world, trust=True)
    assert "CODE RAN" in capsys.readouterr().out


def test_the_command_line_trusts_when_told(module, files, tmp_path, capsys):
    path = rewritten(files["questions"], tmp_path / "sent.safetensors", encoder=f"{module}:Gru")
    words = ["evaluate", "--perception", str(path), "--baselines", "centre", "--scenes", "4", "--trust"]
    main([*words, "--out", str(tmp_path / "out")])
    assert "CODE RAN" in capsys.readouterr().out


def test_a_class_that_is_imported_already_needs_no_trust(module, files, tmp_path, capsys):
    path = rewritten(files["questions"], tmp_path / "sent.safetensors", encoder=f"{module}:Gru")
    __import__(module)
    assert type(Perception.load(path).encoder).__name__ == "Gru"


def test_a_name_that_the_caller_gives_needs_no_trust(module, files):
    options = {"pictures_from": f"{module}:Digits"}
    world = make_world(perception=str(files["questions"]), source_options=options)
    assert world.source.pictures.side == 28


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:path", "json:decoder", "builtins:print", "torch:load"])
def test_no_name_in_a_file_leads_to_anything_but_a_plug_in(name, files, tmp_path):
    path = rewritten(files["digits"], tmp_path / "sent.safetensors", encoder=name)
    with pytest.raises(ValueError, match=r"sent\.safetensors"):
        Perception.load(path)
    with pytest.raises(ValueError, match=r"sent\.safetensors .*is not a subclass of"):
        Perception.load(path, trust=True)


def test_the_rules_of_a_policy_are_rules(files, tmp_path):
    rules = {"trust": True, "perception": "other", "environment": "another"}
    path = rewritten(files["grpo"], tmp_path / "sent.safetensors", rules=rules)
    with pytest.raises(
        ValueError, match=r"sent\.safetensors is damaged: its rules have 'environment', 'perception', 't"
    ):
        read_policy(path)


def test_a_training_of_another_class_is_refused_before_anything_is_imported(module, files, tmp_path, capsys):
    spec = {**header_of(files["training"])["spec"], "encoder": f"{module}:Gru"}
    path = rewritten(files["training"], tmp_path / "training-sent.safetensors", spec=spec)
    with pytest.raises(ValueError, match=r"sent\.safetensors belongs to another perception"):
        use(path, files)
    assert "CODE RAN" not in capsys.readouterr().out


def test_a_file_makes_no_folder_and_reaches_no_network(files, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEAL_DATA", str(tmp_path / "nothing"))
    options = {"root": str(tmp_path / "made"), "download": True, "canvas": 40}
    path = rewritten(files["digits"], tmp_path / "sent.safetensors", source="mnist", source_options=options)
    with pytest.raises(FileNotFoundError, match=r"MNIST is not complete in .*source_options="):
        make_world(perception=str(path))
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "nothing").exists()
    policy = header_of(files["ppo"])["options"]
    path = rewritten(
        files["ppo"], tmp_path / "p.safetensors", options={**policy, "tensorboard_log": str(tmp_path / "b")}
    )
    with pytest.raises(ValueError, match=r"p\.safetensors asks to write into .*trust=True"):
        read_policy(path)
    assert read_policy(path, trust=True).is_trusted


HUGE = {
    "wide": ("digits", "encoder_config", {"width": 3 * 10**6}),
    "deep": ("digits", "encoder_config", {"depth": 10**9}),
    "many tokens": ("digits", "encoder_config", {"state_tokens": 10**10}),
    "many waves": ("digits", "encoder_config", {"frequencies": 10**10}),
    "many patches": ("digits", "encoder_config", {"zooms": 10**7}),
    "a fine grid": ("digits", "encoder_config", {"grid": 10**5}),
    "a large patch": ("digits", "encoder_config", {"patch": 10**6}),
    "a large canvas": ("digits", "source_options", {"canvas": 10**5}),
    "much clutter": ("digits", "source_options", {"clutter": 10**9}),
    "a wide policy": ("grpo", "options", {"width": 10**7}),
    "a fine grid of a policy": ("grpo", "options", {"grid": 10**5}),
    "many glimpses": ("grpo", "trained_on", {"rules": {"glimpses": 10**10}}),
    "a large observation": ("ppo", "observation_shape", [10**6, 10**6]),
    "many environments": ("ppo", "options", {"num_envs": 10**6}),
    "wide layers": ("ppo", "options", {"net_arch": [10**6, 10**6]}),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_file_takes_no_more_memory_than_its_weights_account_for(case, files, tmp_path):
    kind, entry, options = HUGE[case]
    changed = {**header_of(files[kind])[entry], **options} if isinstance(options, dict) else options
    path = rewritten(files[kind], tmp_path / f"{kind}-huge.safetensors", **{entry: changed})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"huge\.safetensors"):
        use(path, files)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


def test_to_load_draws_nothing_at_random(files):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Perception.load(files["digits"])
    assert torch.rand(1) == expected


def test_a_perception_that_has_diverged_is_named(files, tmp_path):
    perception = Perception.load(files["digits"])
    perception.encoder.norm.weight.data.fill_(torch.nan)
    perception.save(tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=r"nan\.safetensors .*not finite"):
        load_frozen(tmp_path / "nan.safetensors")
