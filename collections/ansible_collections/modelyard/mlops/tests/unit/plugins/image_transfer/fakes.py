# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An engine with a classic store, in memory: it takes and refuses archives as the real one does."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import typing as t

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import chain_ids

CONTAINERD_STATUS = [["driver-type", "io.containerd.snapshotter.v1"]]


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def config(layers: t.Sequence[bytes], architecture: str = "amd64", command: str = "/app") -> bytes:
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": [command]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
    ).encode()


class Answer(io.BytesIO):
    """As much of an HTTP response as is read."""

    status = 200


class FakeEngine(Engine):
    """What the modules ask of an engine.

    :ivar images: the configuration of each image by its ID.
    :ivar layers: the content of each layer by its chain ID.
    """

    def __init__(self, architecture: str = "amd64", api: str = "1.41", driver_status: t.Sequence[t.Any] = ()) -> None:
        super().__init__("/nowhere")
        self.version = {"Version": "20.10.24", "ApiVersion": api, "Os": "linux", "Arch": architecture}
        self.info = {"DockerRootDir": "/nowhere", "DriverStatus": list(driver_status)}
        self.images: dict[str, bytes] = {}
        self.layers: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.containers: list[str] = []
        self.exports = 0
        self.loads = 0

    def add(self, name: str, layers: t.Sequence[bytes], **settings: str) -> str:
        text = config(layers, **settings)
        self.images[digest(text)] = text
        self.tags[name] = digest(text)
        self.layers.update(zip(chain_ids([digest(layer) for layer in layers]), layers, strict=True))
        return digest(text)

    def remove(self, name: str) -> None:
        del self.images[self.tags.pop(name)]
        kept = [chain_ids(json.loads(text)["rootfs"]["diff_ids"]) for text in self.images.values()]
        self.layers = {chain: layer for chain, layer in self.layers.items() if any(chain in chains for chains in kept)}

    def get(self, path: str, **_: t.Any) -> t.Any:
        if path == "/version":
            return self.version
        if path == "/info":
            return self.info
        if path == "/images/json":
            return [{"Id": image, "RepoTags": self._names(image)} for image in self.images]
        if path == "/containers/json":
            return [{"ImageID": image} for image in self.containers]
        image = self._find(path)
        if path.endswith("/history"):
            chains = chain_ids(json.loads(self.images[image])["rootfs"]["diff_ids"])
            return [{"Size": len(self.layers[chain])} for chain in reversed(chains)] + [{"Size": 0}]
        fields = json.loads(self.images[image])
        return {
            "Id": image,
            "Os": fields["os"],
            "Architecture": fields["architecture"],
            "RootFS": {"Layers": fields["rootfs"]["diff_ids"]},
            "Size": 1000,
            "RepoTags": self._names(image),
        }

    def _names(self, image: str) -> list[str]:
        return [name for name, tagged in self.tags.items() if tagged == image]

    def post(self, path: str, body: t.Any = None, **query: t.Any) -> None:
        self.tags["{repo}:{tag}".format(**query)] = self._find(path)

    def delete(self, path: str, **_: t.Any) -> None:
        self._find(path)
        image = self.tags.pop(path[len("/images/") :], path[len("/images/") :])
        if image not in self.tags.values():
            del self.images[image]

    def raw(self, method: str, path: str, body: t.Any = None, *_: t.Any, **__: t.Any) -> t.Any:
        if method == "GET":
            self.exports += 1
            return Answer(self._save(self._find(path)))
        self.loads += 1
        problem = self._load(b"".join(body))
        return Answer(json.dumps({"error": problem} if problem else {"stream": "Loaded"}).encode() + b"\r\n")

    def _find(self, path: str) -> str:
        name = path[len("/images/") :]
        for ending in ("/json", "/get", "/tag", "/history"):
            name = name.removesuffix(ending)
        image = self.tags.get(name, name)
        if image not in self.images:
            raise EngineError(404, f"No such image: {name}")
        return image

    def _save(self, image: str) -> bytes:
        layers = json.loads(self.images[image])["rootfs"]["diff_ids"]
        files = {f"v1-{n}/layer.tar": self.layers[chain] for n, chain in enumerate(chain_ids(layers))}
        manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": list(files)}]
        return tar({**files, "c.json": self.images[image], "manifest.json": json.dumps(manifest).encode()})

    def _load(self, content: bytes) -> str:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
        for entry in json.loads(files["manifest.json"]):
            text = files[entry["Config"]]
            wanted = json.loads(text)["rootfs"]["diff_ids"]
            assert len(wanted) == len(entry["Layers"])
            found = {}
            for layer, chain, name in zip(wanted, chain_ids(wanted), entry["Layers"], strict=True):
                if chain in self.layers:
                    continue
                if name not in files:
                    return f"open /var/lib/docker/tmp/docker-import-1/{name}: no such file or directory"
                if digest(files[name]) != layer:
                    return "invalid diffID for layer"
                found[chain] = files[name]
            self.layers.update(found)
            self.images[digest(text)] = text
            self.tags.update(dict.fromkeys(entry["RepoTags"], digest(text)))
        return ""


class ContainerdEngine(FakeEngine):
    """An engine with a containerd store: it keeps blobs by their digest and calls an image by its manifest.

    As the real one, it takes an archive which has not all layers, and only an image's manifests tell.
    """

    def __init__(self, architecture: str = "amd64", api: str = "1.48") -> None:
        super().__init__(architecture, api, CONTAINERD_STATUS)
        self.blobs: dict[str, bytes] = {}
        self.archives: list[set[str]] = []

    def _load(self, content: bytes) -> str:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
        if "oci-layout" not in files:
            return "no OCI layout"
        blobs = {name[len("blobs/") :].replace("/", ":"): text for name, text in files.items() if name[:6] == "blobs/"}
        assert all(digest(text) == name for name, text in blobs.items())
        self.archives.append(set(blobs))
        self.blobs.update(blobs)
        for entry in json.loads(files["index.json"])["manifests"]:
            manifest = json.loads(self.blobs[entry["digest"]])
            self.images[entry["digest"]] = self.blobs[manifest["config"]["digest"]]
            name = entry["annotations"]["io.containerd.image.name"]
            self.tags[name.removeprefix("docker.io/library/")] = entry["digest"]
        return ""

    def get(self, path: str, **query: t.Any) -> t.Any:
        answer = super().get(path, **query)
        if query.get("manifests"):
            manifest = json.loads(self.blobs[answer["Id"]])
            available = all(layer["digest"] in self.blobs for layer in manifest["layers"])
            platform = {"os": answer["Os"], "architecture": answer["Architecture"]}
            answer["Manifests"] = [{"Available": available, "Kind": "image", "ImageData": {"Platform": platform}}]
        return answer
