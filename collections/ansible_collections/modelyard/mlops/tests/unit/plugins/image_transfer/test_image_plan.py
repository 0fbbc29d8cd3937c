# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_plan: what travels, what is refused beforehand, and how it is told."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, chain_ids
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_plan
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache, CachedBlob, Chunk

KEY = "sha256:" + "f" * 64
LAYERS = tuple("sha256:" + letter * 64 for letter in "abc")
IMAGE = Image(KEY, LAYERS, "linux", "amd64", 30_000_000)


def look(**changes: t.Any) -> image_plan.Look:
    return {
        "engine": {"version": "20.10.24", "api": "1.41", "os": "linux", "architecture": "amd64", "store": "classic"},
        "problem": "",
        "present": {},
        "tagged": {"app:1": None},
        "chains": [],
        "blobs": [],
        "surplus": [],
        "staged": [],
        "codecs": ["zstd"],
        "space": {
            "engine": {"path": "/var/lib/docker", "free": 10**9, "device": 1},
            "temporary": {"path": "/var/lib/docker/tmp", "free": 10**9, "device": 1},
            "staging": {"path": "/staging", "free": 10**9, "device": 2},
        },
        **changes,
    }


def store(name: str) -> dict[str, str]:
    return {**look()["engine"], "store": name}


def blob(digest: str, *chunks: int) -> CachedBlob:
    parts = tuple(Chunk(f"{digest[7:10]}{size}", 10 * size, "zstd", size) for size in chunks)
    return CachedBlob(digest, 10 * sum(chunks), parts)


@pytest.mark.parametrize(
    ("found", "path", "skip"),
    [
        (look(present={KEY: KEY}, tagged={"app:1": KEY}), image_plan.PRESENT, 3),
        (look(present={KEY: KEY}), image_plan.TAG, 3),
        (look(present={KEY: KEY}, tagged={"app:1": "sha256:other"}), image_plan.TAG, 3),
        (look(chains=chain_ids(LAYERS[:2])), image_plan.THIN, 2),
        (look(chains=chain_ids(LAYERS)), image_plan.THIN, 3),
        (look(chains=chain_ids(LAYERS[1:])), image_plan.FULL, 0),
        (look(), image_plan.FULL, 0),
        (look(engine=None), image_plan.FULL, 0),
        (look(chains=chain_ids(LAYERS), engine=store("containerd")), image_plan.FULL, 0),
        (look(blobs=LAYERS[:1], engine=store("containerd")), image_plan.THIN, 1),
        (look(blobs=LAYERS[:2]), image_plan.FULL, 0),
        (look(chains=chain_ids(LAYERS), engine=store("podman")), image_plan.FULL, 0),
    ],
)
def test_plan(found: image_plan.Look, path: str, skip: int) -> None:
    planned = image_plan.plan("app:1", IMAGE, found)
    assert (planned.path, planned.layers) == (path, LAYERS[skip:])
    assert bool(planned.reason) == (path == image_plan.FULL)
    sends = path in (image_plan.THIN, image_plan.FULL)
    assert planned.blobs == ([KEY, *LAYERS[skip:]] if sends else [])


def test_containerd_store_knows_layers_wherever_they_lie() -> None:
    planned = image_plan.plan("app:1", IMAGE, look(blobs=[LAYERS[1]], engine=store("containerd")))
    assert (planned.path, planned.layers) == (image_plan.THIN, (LAYERS[0], LAYERS[2]))


def test_layer_that_appears_twice_travels_once() -> None:
    image = Image(KEY, (LAYERS[0], LAYERS[1], LAYERS[0]), "linux", "amd64", 0)
    assert image_plan.plan("app:1", image, look()).blobs == [KEY, LAYERS[0], LAYERS[1]]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (None, "Run the role modelyard.mlops.docker first"),
        ({"api": "1.40", "version": "19.03.1"}, "engine 19.03.1 is too old: 20.10 or newer"),
    ],
)
def test_impossible_transfer_is_refused(engine: dict[str, str] | None, message: str) -> None:
    found = look(engine=engine and {**look()["engine"], **engine})
    with pytest.raises(ImageError, match=message):
        image_plan.refuse(found, "/docker.sock")


def test_possible_transfer_is_not_refused() -> None:
    image_plan.refuse(look(), "/docker.sock")


def test_the_platform_of_the_host_is_taken() -> None:
    other = Image("sha256:" + "e" * 64, LAYERS, "linux", "arm64", 0)
    assert image_plan.for_platform("app:1", [other, IMAGE], look()) == IMAGE
    assert image_plan.for_platform("app:1", [other, IMAGE], look(engine=None)) == other


@pytest.mark.parametrize(
    ("engine", "runs"), [({"architecture": "s390x"}, "linux/s390x"), ({"os": "windows"}, "windows")]
)
def test_other_platforms_are_refused(engine: dict[str, str], runs: str) -> None:
    other = Image("sha256:" + "e" * 64, LAYERS, "linux", "arm64", 0)
    message = f"app:1 is an image for linux/amd64, linux/arm64, and the host's engine runs {runs}"
    with pytest.raises(ImageError, match=message):
        image_plan.for_platform("app:1", [IMAGE, other], look(engine={**look()["engine"], **engine}))


@pytest.mark.parametrize(
    ("devices", "free", "place"),
    [
        ((1, 1, 2), (600, 600, 30), ""),
        ((1, 1, 2), (599, 599, 30), "/var/lib/docker/tmp"),
        ((1, 1, 2), (600, 600, 29), "/staging"),
        ((1, 1, 1), (630, 630, 630), ""),
        ((1, 1, 1), (629, 629, 629), "/staging"),
        ((1, 3, 2), (300, 300, 30), ""),
        ((1, 3, 2), (299, 300, 30), "/var/lib/docker"),
        ((1, 3, 2), (300, 299, 30), "/var/lib/docker/tmp"),
    ],
)
def test_space_is_compared_before(devices: tuple[int, ...], free: tuple[int, ...], place: str) -> None:
    found = look()
    for name, device, bytes_ in zip(("engine", "temporary", "staging"), devices, free, strict=True):
        found["space"][name].update(device=device, free=bytes_)
    needed = image_plan.Need(packed=30, raw=300)
    if not place:
        image_plan.refuse_too_little_space(found, "app:1", needed)
        return
    with pytest.raises(ImageError, match=f"app:1 needs .* at {place},"):
        image_plan.refuse_too_little_space(found, "app:1", needed)


@pytest.mark.parametrize(("sizes", "rest"), [((), 30_000_000), ((100, 50, 7), 50)])
def test_what_is_not_exported_yet_is_estimated(cache: Cache, sizes: tuple[int, ...], rest: int) -> None:
    known, config = cache.add([b"layer" * 100]), cache.add([b"config"])
    image = Image(config.digest, (LAYERS[0], LAYERS[1], known.digest), "linux", "amd64", 30_000_000, sizes)
    found = look(chains=chain_ids(image.layers[:1]), staged=[config.chunks[0].id])
    needed = image_plan.need(image_plan.plan("app:1", image, found), found, cache)
    assert needed == image_plan.Need(packed=known.packed + rest, raw=506 + rest)


def test_chunks_that_wait_are_not_missing() -> None:
    blobs = [blob(KEY, 10), blob(LAYERS[0], 12, 8), blob(LAYERS[0], 12, 8)]
    staged = blobs[1].chunks[0].id
    assert [chunk.packed for chunk in image_plan.missing_chunks(look(staged=[staged]), blobs)] == [10, 8]


def test_plan_is_told() -> None:
    found = look(chains=chain_ids(LAYERS[:2]), staged=["x"])
    text = image_plan.describe(
        image_plan.plan("app:1", IMAGE, found), found, [blob(KEY, 100), blob(LAYERS[2], 4_000_000, 1000)]
    )
    assert text.splitlines() == [
        f"app:1 ({KEY}): only the missing layers travel",
        f"  {LAYERS[0]}  is there",
        f"  {LAYERS[1]}  is there",
        f"  {LAYERS[2]}  travels: 40.0 MB, compressed 4.0 MB",
        "  to send: 4.0 MB of 30.0 MB (1 chunks wait from an earlier transfer)",
        "  disk: 4.0 MB at /staging, 40.0 MB at /var/lib/docker/tmp, 40.0 MB at /var/lib/docker",
    ]


def test_move_of_a_name_is_told() -> None:
    found = look(present={KEY: KEY}, tagged={"app:1": "sha256:old"})
    text = image_plan.describe(image_plan.plan("app:1", IMAGE, found), found, [])
    assert "only its name moves" in text
    assert "points to sha256:old now" in text


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.50 GB")])
def test_bytes_are_readable(size: float, text: str) -> None:
    assert image_plan.human(size) == text
