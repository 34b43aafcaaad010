"""Reading a job spec from a YAML file, with the line of every problem.

Covered: hostile or mistyped YAML: tags, anchors and aliases, duplicate keys, depth and size are
refused; only text, whole numbers, booleans, lists and mappings come out. ``5.00`` stays the text
``5.00``, and ``no`` or ``on`` stay text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from client_sdk.protocol.errors import JobSpecError, Problem
from client_sdk.protocol.jobspec import JobSpec

#: Largest spec in bytes.
MAX_BYTES: Final = 256 << 10
#: Deepest nesting.
MAX_DEPTH: Final = 12
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_PLAIN: Final[Mapping[str, object]] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}


class JobFileError(JobSpecError):
    """The job file was refused; one line for each problem: ``file:line: message; suggestion``."""

    def __init__(self, file: str, problems: Sequence[Problem], lines: Mapping[str, int]) -> None:
        super().__init__(problems)
        self.file: Final = file
        #: Line of each problem, counted from 1.
        self.lines: Final = tuple(_line_of(problem.path, lines) for problem in problems)
        texts = [
            f"{file}:{line}: {problem}"
            for line, problem in sorted(
                zip(self.lines, problems, strict=True), key=lambda pair: pair[0]
            )
        ]
        self.args = ("\n".join(texts),)


@dataclass(frozen=True, kw_only=True)
class JobFile:
    """A job spec and where its relative paths start."""

    spec: JobSpec
    #: Folder that holds the file.
    folder: Path

    @property
    def code_folder(self) -> Path:
        """Folder with the code."""
        return self.folder / self.spec.code

    @property
    def data_paths(self) -> dict[str, Path]:
        """File or folder of each data set, by name."""
        return {name: self.folder / path for name, path in self.spec.data.items()}

    @property
    def wheels_path(self) -> Path | None:
        """Hash-locked list of wheels, when the spec names one."""
        return self.folder / self.spec.wheels if self.spec.wheels else None


def load_job_file(path: Path) -> JobFile:
    """Return the job spec in a YAML file whose folders and files are all there.

    Raises
    ------
    JobFileError
        With every problem and its line.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror}", "name a YAML job file")
        raise JobFileError(name, [problem], {}) from error
    if len(raw) > MAX_BYTES:
        problem = Problem("", f"larger than {MAX_BYTES} bytes", "a job spec is a page or two")
        raise JobFileError(name, [problem], {})
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem("", "not UTF-8 text", "name a YAML job file")
        raise JobFileError(name, [problem], {}) from error
    value, lines = parse_job_text(text, name)
    try:
        job = JobFile(spec=JobSpec.from_dict(value), folder=path.parent)
    except JobSpecError as error:
        raise JobFileError(name, error.problems, lines) from error
    problems = _missing_files(job)
    if problems:
        raise JobFileError(name, problems, lines)
    return job


def parse_job_text(text: str, file: str = "job.yaml") -> tuple[object, dict[str, int]]:
    """Return the value of a YAML text and the line of each path in it.

    Raises
    ------
    JobFileError
        When it is not YAML of the accepted kind.
    """
    try:
        problem = _refused_event(text)
        if problem is not None:
            raise JobFileError(file, [problem[1]], {"": problem[0]})
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem_text = error.problem or "cannot be read"
        mend = "check indentation, colons and quotes"
        raise JobFileError(
            file, [Problem("", f"not valid YAML: {problem_text}", mend)], {"": line}
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        bad = Problem("", "holds a character that YAML does not allow", "save it as plain text")
        raise JobFileError(file, [bad], {"": line}) from error
    if node is None:
        raise JobFileError(file, [Problem("", "the file is empty", "start with name:")], {})
    lines: dict[str, int] = {"": _line(node)}
    repeated: list[Problem] = []
    value = _value_of(node, "", lines, repeated)
    if repeated:
        raise JobFileError(file, repeated, lines)
    return value, lines


def _refused_event(text: str) -> tuple[int, Problem] | None:
    """Return line and problem of the first thing that no job spec needs."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                return line, Problem("", "a second document", "keep one job in a file")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            return line, Problem("", "anchors and aliases are not allowed", "write it out")
        if getattr(event, "tag", None) is not None:
            return line, Problem(
                "", "tags (!) are not allowed", "remove the tag, or quote the text"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return line, Problem("", "nested too deep", "a job spec has three levels")
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


def _value_of(node: yaml.Node, path: str, lines: dict[str, int], repeated: list[Problem]) -> object:
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            inner = f"{path}[{i}]"
            lines[inner] = _line(item)
            items.append(_value_of(item, inner, lines, repeated))
        return items
    if isinstance(node, yaml.MappingNode):
        return _mapping_of(node, path, lines, repeated)
    assert isinstance(node, yaml.ScalarNode)
    text = str(node.value)
    if node.style is not None:
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    return int(text) if _INTEGER.fullmatch(text) else text


def _mapping_of(
    node: yaml.MappingNode, path: str, lines: dict[str, int], repeated: list[Problem]
) -> dict[str, object]:
    value: dict[str, object] = {}
    for key_node, item in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        inner = f"{path}.{key}" if path else key
        if key in value:
            repeated.append(Problem(inner, "this key comes twice", "remove one of them"))
        lines[inner] = _line(key_node)
        value[key] = _value_of(item, inner, lines, repeated)
    return value


def _line(item: yaml.Node | yaml.Event) -> int:
    """Return the line where a piece of the file starts, counted from 1."""
    mark = item.start_mark
    assert mark is not None
    return int(mark.line) + 1


def _missing_files(job: JobFile) -> list[Problem]:
    """Return a problem for each file or folder that the spec names and that is not there."""
    spec, problems = job.spec, []
    if not job.code_folder.is_dir():
        return [Problem("code", f"there is no folder {spec.code}", "paths start at this file")]
    for path, program in (("entry", spec.entry), ("evaluate.entry", spec.evaluate)):
        if program and not (job.code_folder / program).is_file():
            problems.append(
                Problem(path, f"there is no file {program} in the code folder {spec.code}")
            )
    for name, source in job.data_paths.items():
        if not source.exists():
            mend = "paths start at this file"
            problems.append(Problem(f"data.{name}", f"there is no {spec.data[name]}", mend))
    if job.wheels_path is not None and not job.wheels_path.is_file():
        problems.append(Problem("image.wheels", f"there is no file {spec.wheels}"))
    return problems


def _line_of(path: str, lines: Mapping[str, int]) -> int:
    """Return the line of a path, or of the nearest part of the file that encloses it."""
    while path and path not in lines:
        cut = max(path.rfind("."), path.rfind("["))
        path = path[:cut] if cut > 0 else ""
    return lines.get(path, 1)
