"""The job spec: what is accepted, and every refusal with its path and suggestion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.protocol.errors import JobSpecError, MoneyError, Problem
from client_sdk.protocol.jobspec import KEYS, Audit, JobSpec
from client_sdk.protocol.jobspec_reader import SYNONYMS
from client_sdk.protocol.verification import Verification

MINIMAL = {
    "name": "digits",
    "entry": "train.py",
    "segments": {"steps": 50, "max": 30},
    "budget": "5.00",
}
AUDITOR = "0x" + "0a" * 20


def problems_of(value) -> list[Problem]:
    with pytest.raises(JobSpecError) as caught:
        JobSpec.from_dict(value)
    return list(caught.value.problems)


def problem_of(**changes) -> Problem:
    value = {key: item for key, item in (MINIMAL | changes).items() if item != "<missing>"}
    found = problems_of(value)
    assert len(found) == 1, found
    return found[0]


def test_when_the_spec_is_minimal_then_the_rest_has_defaults():
    spec = JobSpec.from_dict(MINIMAL)
    assert spec.code == "."
    assert spec.resources.gpu == ""
    assert spec.resources.gpu_count == 0
    assert spec.resources.memory_bytes == 2 << 30
    assert spec.verification is Verification.REPLAY
    assert spec.audit is Audit.MARKET
    assert spec.max_duration_s == 3600
    assert spec.outputs.keep_s == 7 * 86_400
    assert spec.budget_amount(6) == 5_000_000


def test_when_the_spec_is_full_then_all_of_it_is_read():
    spec = JobSpec.from_dict(
        {
            "name": "gpt.small_1",
            "resources": {
                "gpu": "RTX_4090",
                "gpu_count": 1,
                "cpu": 4,
                "memory": "1.5GiB",
                "disk": "20GB",
            },
            "code": "src",
            "entry": "pkg/train.py",
            "args": ["--epochs", "3"],
            "data": {"text": "corpus/", "vocab": "../vocab.json"},
            "env": {"MODE": "full"},
            "image": {"wheels": "wheels.lock"},
            "segments": {"steps": 20, "max": 65_535},
            "verification": "replay",
            "audit": "named",
            "auditors": [AUDITOR],
            "budget": 7,
            "max_duration": "2h30m",
            "outputs": {"paths": ["model/**"], "keep": "30d"},
            "evaluate": {"entry": "evaluate.py"},
        }
    )
    assert spec.resources.gpu == "RTX_4090"
    assert spec.resources.memory_bytes == 3 << 29
    assert spec.args == ("--epochs", "3")
    assert spec.data == {"text": "corpus/", "vocab": "../vocab.json"}
    assert spec.wheels == "wheels.lock"
    assert spec.audit is Audit.NAMED
    assert spec.auditors[0].lower() == AUDITOR
    assert spec.budget_amount(0) == 7
    assert spec.max_duration_s == 9000
    assert spec.outputs.paths == ("model/**",)
    assert spec.evaluate == "evaluate.py"


def test_when_a_job_is_metered_then_it_is_cut_by_seconds():
    spec = JobSpec.from_dict(
        MINIMAL
        | {
            "verification": "metered",
            "audit": "none",
            "segments": {"seconds": 60, "max": 10},
            "resources": {"gpu": "A100", "gpu_count": 8},
        }
    )
    assert (spec.segments.steps, spec.segments.seconds) == (0, 60)
    assert spec.audit is Audit.NONE


def test_when_a_gpu_is_named_then_one_is_meant_and_none_means_none():
    assert JobSpec.from_dict(MINIMAL | {"resources": {"gpu": "A100"}}).resources.gpu_count == 1
    assert JobSpec.from_dict(MINIMAL | {"resources": {"gpu": "None"}}).resources.gpu == ""


@pytest.mark.parametrize(
    ("changes", "path", "message", "suggestion"),
    [
        # keys
        ({"naame": 1}, "naame", "unknown key", "did you mean name?"),
        ({"segmentss": 1}, "segmentss", "unknown key", "did you mean segments?"),
        ({"workdir": "x"}, "workdir", "unknown key", "did you mean code?"),
        ({"zzz": 1}, "zzz", "unknown key", "known: name, resources"),
        ({5: 1}, "5", "unknown key", "known:"),
        ({"seed": 1}, "seed", "cannot be chosen", "public randomness"),
        ({"resources": {"gpus": 1}}, "resources.gpus", "unknown key", "did you mean gpu?"),
        ({"resources": {"ram": "1GB"}}, "resources.ram", "unknown key", "did you mean memory?"),
        # missing
        ({"name": "<missing>"}, "name", "missing", "give the job a name"),
        ({"entry": "<missing>"}, "entry", "missing", "name the Python file"),
        ({"entry": None}, "entry", "missing", "name the Python file"),
        ({"budget": "<missing>"}, "budget", "missing", "5.00"),
        ({"segments": {"steps": 5}}, "segments.max", "missing", "how many segments"),
        ({"image": {}}, "image.wheels", "missing", "wheels.lock"),
        ({"evaluate": {}}, "evaluate.entry", "missing", "name the Python file"),
        # types
        ({"name": 5}, "name", "expected text, got a number", 'quote it: "5"'),
        ({"env": {"A": True}}, "env.A", "got a boolean", 'quote it: "true"'),
        ({"args": [1.5]}, "args[0]", "got a number", 'quote it: "1.5"'),
        ({"args": [["a"]]}, "args[0]", "got a list", "plain text"),
        ({"args": "x"}, "args", "expected a list, got text", "write [a, b]"),
        ({"data": ["x"]}, "data", "expected a mapping, got a list", "name: value"),
        ({"resources": 5}, "resources", "expected a mapping, got a number", "gpu, gpu_count"),
        ({"resources": {"cpu": "two"}}, "resources.cpu", "got text 'two'", "without quotes"),
        ({"resources": {"cpu": True}}, "resources.cpu", "got a boolean", "without quotes"),
        ({"resources": {"cpu": 0}}, "resources.cpu", "0 is out of range", "use 1 to 1024"),
        ({"resources": {"memory": 2}}, "resources.memory", "with a unit", "2GiB"),
        ({"resources": {"memory": "2"}}, "resources.memory", "not a size", "2GiB"),
        ({"resources": {"memory": "1KiB"}}, "resources.memory", "too small", "nobody"),
        ({"resources": {"disk": "9999TiB"}}, "resources.disk", "too large", "nobody"),
        ({"max_duration": 30}, "max_duration", "with a unit", "30m"),
        ({"max_duration": "soon"}, "max_duration", "not a duration", "30m"),
        ({"max_duration": "999d"}, "max_duration", "too large", "nobody"),
        ({"verification": 5}, "verification", "expected text", "quote it"),
        ({"verification": "repaly"}, "verification", "not known", "did you mean replay?"),
        ({"audit": "xyz"}, "audit", "not known", "use market or named or none"),
        ({"budget": True}, "budget", "amount of tokens", "5.00"),
        ({"budget": 5.5}, "budget", "amount of tokens", "5.00"),
        ({"budget": "five"}, "budget", "not an amount", "5.00"),
        ({"budget": "-5"}, "budget", "not an amount", "5.00"),
        ({"budget": "0.00"}, "budget", "for nothing", "above 0"),
        # bounds
        ({"name": "a/b"}, "name", "cannot be used", "letters"),
        ({"args": ["x"] * 257}, "args", "257 items", "at most 256"),
        ({"args": ["x" * 5000]}, "args[0]", "5000 characters", "at most 4096"),
        ({"args": ["a\0b"]}, "args[0]", "no program can be given", ""),
        ({"args": ["\ud800"]}, "args[0]", "no program can be given", ""),
        ({"env": {"1A": "x"}}, "env.1A", "cannot be a name", "letters"),
        ({"env": {5: "x"}}, "env.5", "cannot be a name", "letters"),
        ({"env": {f"A{i}": "" for i in range(129)}}, "env", "129 entries", "at most 128"),
        ({"env": {"LD_PRELOAD": "x"}}, "env.LD_PRELOAD", "runtime sets", "remove it"),
        ({"env": {"Path": "x"}}, "env.Path", "runtime sets", "remove it"),
        ({"data": {"../x": "y"}}, "data.../x", "cannot be a name", "/data/"),
        ({"entry": "../train.py"}, "entry", "leads out", "inside"),
        ({"entry": "/train.py"}, "entry", "leads out", "inside"),
        ({"entry": "train.sh"}, "entry", "not a Python file", ".py"),
        ({"evaluate": {"entry": "x"}}, "evaluate.entry", "not a Python file", ".py"),
        ({"outputs": {"paths": ["../*"]}}, "outputs.paths[0]", "leads out", "model/**"),
        ({"outputs": {"keep": "1s"}}, "outputs.keep", "too small", ""),
        ({"audit": "named", "auditors": ["0x1"]}, "auditors[0]", "hexadecimal", "address"),
        # together
        (
            {"resources": {"gpu": "A100", "gpu_count": 0}},
            "resources.gpu_count",
            "no GPU",
            "gpu: none",
        ),
        ({"resources": {"gpu_count": 2}}, "resources.gpu", "none is named", "gpu_count: 0"),
        ({"verification": "rerun"}, "verification", "later release", "use replay"),
        ({"verification": "replicate"}, "verification", "later release", "use replay"),
        ({"audit": "named"}, "auditors", "nobody is named", "audit: market"),
        ({"auditors": [AUDITOR]}, "audit", "auditors are named", "audit: named"),
        ({"audit": "none"}, "audit", "verifies nothing", "metered"),
        (
            {"resources": {"gpu": "A100", "gpu_count": 2}},
            "resources.gpu_count",
            "several GPUs",
            "gpu_count: 1",
        ),
        ({"segments": {"max": 3}}, "segments.steps", "missing", "optimizer steps"),
        (
            {"segments": {"steps": 5, "seconds": 5, "max": 3}},
            "segments.seconds",
            "cut by steps",
            "metered",
        ),
        (
            {"verification": "metered", "segments": {"steps": 5, "seconds": 5, "max": 3}},
            "segments.steps",
            "not cut by steps",
            "replay",
        ),
        (
            {"verification": "metered", "segments": {"max": 3}},
            "segments.seconds",
            "missing",
            "how long",
        ),
        (
            {
                "verification": "metered",
                "segments": {"seconds": 90, "max": 3},
                "max_duration": "60s",
            },
            "segments.seconds",
            "longer than the whole job",
            "max_duration",
        ),
    ],
)
def test_when_a_spec_is_wrong_then_path_message_and_suggestion_say_so(
    changes, path, message, suggestion
):
    problem = (
        problem_of(**changes)
        if all(isinstance(k, str) for k in changes)
        else problems_of(MINIMAL | changes)[0]
    )
    assert problem.path == path
    assert message in problem.message
    assert suggestion in problem.suggestion


def test_when_many_things_are_wrong_then_all_are_said_at_once():
    found = problems_of({"naame": 1, "entry": "x", "segments": {"steps": "a", "max": 0}})
    assert [problem.path for problem in found] == [
        "naame",
        "name",
        "entry",
        "segments.steps",
        "segments.max",
        "budget",
    ]


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_when_the_spec_is_no_mapping_then_it_is_refused(value):
    assert "expected a mapping" in problems_of(value)[0].message


def test_when_segments_are_missing_then_it_is_said():
    found = problems_of({key: value for key, value in MINIMAL.items() if key != "segments"})
    assert [str(problem) for problem in found] == [
        "segments: missing; say how the job is cut, for example {steps: 50, max: 30}"
    ]


def test_when_the_budget_is_finer_than_the_token_then_it_cannot_be_converted():
    with pytest.raises(MoneyError):
        JobSpec.from_dict(MINIMAL | {"budget": "0.0000001"}).budget_amount(6)


def test_when_synonyms_are_listed_then_none_is_a_key_itself():
    parts = {"gpu", "gpu_count", "cpu", "memory", "disk"}
    assert not set(SYNONYMS) & (set(KEYS) | parts)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), ANYTHING, max_size=6))
def test_when_a_spec_is_anything_at_all_then_it_is_accepted_or_refused_in_words(value):
    words: str | None = None
    try:
        JobSpec.from_dict(MINIMAL | value)
    except JobSpecError as error:
        words = str(error)
    assert words is None or words
