"""Places of sealed data: one name for each, which nothing else has."""

from __future__ import annotations

from client_sdk.protocol.places import artifact_place, frame_place


def test_when_places_are_named_then_all_of_them_differ() -> None:
    places = [
        artifact_place("manifest"),
        artifact_place("bundle"),
        artifact_place("data", name="digits"),
        artifact_place("extra", name="wheels"),
        artifact_place("checkpoint", segment=0),
        artifact_place("checkpoint", segment=12),
        artifact_place("trace"),
        frame_place("att_1", "log", 3),
    ]
    assert places == [
        "manifest",
        "bundle",
        "data:digits",
        "extra:wheels",
        "checkpoint:0",
        "checkpoint:12",
        "trace",
        "frame:att_1:log:3",
    ]
