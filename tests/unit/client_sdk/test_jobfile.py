"""Job files: values, lines, and hostile YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk.jobfile import MAX_BYTES, JobFileError, load_job_file, parse_job_text

GOOD = """\
name: digits-cnn
resources: {gpu: none, gpu_count: 0, cpu: 1, memory: 2GiB, disk: 2GiB}
code: .
entry: train.py
args: [--epochs, "3"]
data: {digits: data/digits.npz}
env: {KEY: no}
image: {wheels: wheels.lock}
segments: {steps: 50, max: 30}
verification: replay
budget: 5.00          # tokens
max_duration: 30m
outputs: {paths: ["model/**"], keep: 7d}
evaluate: {entry: evaluate.py}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train.py", "evaluate.py", "wheels.lock", "data/digits.npz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def refused(folder: Path, text: str | bytes) -> list[str]:
    path = folder / "job.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(JobFileError) as caught:
        load_job_file(path)
    error = caught.value
    assert len(error.lines) == len(error.problems)
    return [line.removeprefix(f"{folder}/") for line in str(error).splitlines()]


def test_when_the_file_is_right_then_the_spec_and_its_paths_come_out(folder):
    (folder / "job.yaml").write_text(GOOD)
    job = load_job_file(folder / "job.yaml")
    assert job.spec.budget == "5.00"
    assert job.spec.env == {"KEY": "no"}
    assert job.code_folder == folder
    assert job.data_paths == {"digits": folder / "data/digits.npz"}
    assert job.wheels_path == folder / "wheels.lock"


def test_when_there_is_no_image_then_there_is_no_wheel_list(folder):
    (folder / "job.yaml").write_text(GOOD.replace("image: {wheels: wheels.lock}\n", ""))
    assert load_job_file(folder / "job.yaml").wheels_path is None


def test_when_things_are_wrong_then_each_line_is_named_in_order(folder):
    text = """\
naame: digits
resources:
  gpu: none
  gpu_counts: two
  memory: 2
entry: train.py
args:
  - --epochs
  - 3
segments:
  steps: fifty
max_duration: 30
"""
    assert refused(folder, text) == [
        "job.yaml:1: naame: unknown key; did you mean name?",
        "job.yaml:1: name: missing; give the job a name, for example name: digits-cnn",
        "job.yaml:1: budget: missing; say how much may be spent at most, for example 5.00",
        "job.yaml:4: resources.gpu_counts: unknown key; did you mean gpu_count?",
        "job.yaml:5: resources.memory: expected text with a unit, got a number; "
        "write 2GiB, 512MiB or 10GB",
        'job.yaml:9: args[1]: expected text, got a number; quote it: "3"',
        "job.yaml:10: segments.max: missing; say how many segments there may be at most",
        "job.yaml:11: segments.steps: expected a whole number, got text 'fifty'; "
        "write a number from 1 to 20000, without quotes",
        "job.yaml:12: max_duration: expected text with a unit, got a number; "
        "write 90s, 30m, 1h30m or 7d",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("code: .", "code: src", 3, "code: there is no folder src"),
        ("train.py", "other.py", 4, "entry: there is no file other.py"),
        ("data/digits.npz", "data/x", 6, "data.digits: there is no data/x"),
        ("wheels.lock", "w.lock", 8, "image.wheels: there is no file w.lock"),
        ("evaluate.py", "e.py", 14, "evaluate.entry: there is no file e.py"),
    ],
)
def test_when_a_file_is_not_there_then_its_line_is_named(folder, old, new, line, message):
    found = refused(folder, GOOD.replace(old, new))
    assert found[0].startswith(f"job.yaml:{line}: {message}")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [1", 2, "not valid YAML"),
        ("a: 1\n b: 2", 2, "not valid YAML"),
        ("a: 1\nb: \x07", 2, "holds a character that YAML does not allow"),
        ("a: 1\na: 2", 2, "a: this key comes twice"),
        ("a: &x 1\nb: *x", 1, "anchors and aliases"),
        ("a: 1\nb: *x", 2, "anchors and aliases"),
        ("a: !!python/object:os.system {}", 1, "tags (!)"),
        ("a: !!str 5", 1, "tags (!)"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("\n" + "[" * 13 + "]" * 13, 2, "nested too deep"),
        ("", 1, "the file is empty"),
        ("# nothing", 1, "the file is empty"),
        (b"\xff\xfe", 1, "not UTF-8"),
        ("x" * (MAX_BYTES + 1), 1, "larger than"),
        ("- a\n- b", 1, "expected a mapping, got a list"),
        ("5", 1, "expected a mapping, got a number"),
        ("? [a, b]\n: 1", 1, "?: unknown key"),
    ],
)
def test_when_yaml_is_hostile_or_mistyped_then_the_line_is_named(folder, text, line, message):
    found = refused(folder, text)
    assert found[0].startswith(f"job.yaml:{line}: {message}")


def test_when_aliases_would_explode_then_nothing_is_expanded(folder):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "anchors" in refused(folder, "\n".join(lines))[0]


def test_when_the_file_is_not_there_then_it_says_so(tmp_path):
    with pytest.raises(JobFileError, match="cannot be read: No such file"):
        load_job_file(tmp_path / "job.yaml")


def test_when_scalars_are_plain_then_only_plain_meanings_come_out():
    text = """\
a: 5
b: 5.00
c: "5"
d: true
e: yes
f: on
g: ~
h:
i: 012
j: -3
k: 2024-01-01
l: 1e3
m: null
n: 0x10
o: '~'
p: |
  text
"""
    value, lines = parse_job_text(text)
    assert value == {
        "a": 5,
        "b": "5.00",
        "c": "5",
        "d": True,
        "e": "yes",
        "f": "on",
        "g": None,
        "h": None,
        "i": "012",
        "j": -3,
        "k": "2024-01-01",
        "l": "1e3",
        "m": None,
        "n": "0x10",
        "o": "~",
        "p": "text\n",
    }
    assert lines["c"] == 3


def test_when_a_byte_order_mark_leads_then_it_is_passed_over(folder):
    (folder / "job.yaml").write_text("\ufeff" + GOOD, encoding="utf-8")
    assert load_job_file(folder / "job.yaml").spec.name == "digits-cnn"
