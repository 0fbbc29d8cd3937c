# SPDX-License-Identifier: Apache-2.0
"""Builds the images of images/ that are not there yet, and names them after the commit."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import engine, packages
from .errors import DeliveryError
from .run import Run

# What an image was built from, as a label: the same sources are not built twice, whatever the build cache forgot.
SOURCE_LABEL = "modelyard.source"
# Never part of an image: what tests and tools leave in a source folder.
LEFT_OUT = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "tests", "build")


@dataclass(frozen=True)
class Image:
    """An image that this repository builds: `target` is the stage of the Dockerfile in images/`folder`.

    `without` names the files and folders there, at any depth, that are no part of it: it need not be built for them.
    """

    name: str
    folder: str
    target: str | None = None
    without: tuple[str, ...] = ()


# The Debian release that images are made of; tests have hosts of another, too.
SUITE = "bookworm"
BASE = "modelyard/base"
HOST = Image("modelyard/host", "host")
SHIPPED = (
    Image("modelyard/iris-train", "iris", "train", without=("serving", "requirements-api.txt")),
    Image("modelyard/iris-api", "iris", "api"),
    Image("modelyard/mlflow", "mlflow"),
)


def build(run: Run, root: Path, tag: str) -> list[str]:
    """Build what is missing of the images that are shipped to hosts; return their references with `tag`."""
    ensure_base(run, root)
    return [_build(run, root / "images", image, tag) for image in SHIPPED]


def save(run: Run, tag: str, folder: Path) -> list[Path]:
    """Write each shipped image as a `docker save` archive into `folder`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    archives = [folder / f"{image.name.rpartition('/')[2]}-{tag}.tar" for image in SHIPPED]
    for image, archive in zip(SHIPPED, archives, strict=True):
        partial = archive.with_suffix(".partial")
        run.command(["docker", "save", "--output", partial, f"{image.name}:{tag}"])
        partial.replace(archive)
    return archives


def build_host(run: Run, root: Path, suite: str = SUITE) -> str:
    """Build the sandbox host's image, of a Debian release, if its sources changed; return its reference."""
    ensure_base(run, root, suite)
    return _build(run, root / "images", HOST, suite, suite)


def ensure_base(run: Run, root: Path, suite: str = SUITE) -> None:
    """Make the base image: from the official one, or with mmdebstrap where no registry answers."""
    base = f"{BASE}:{suite}"
    if _image_id(base):
        return
    client, env = engine.builder()
    pulled, _ = run.command([client, "pull", "--quiet", f"debian:{suite}-slim"], expect=(0, 1))
    if pulled == 0:
        command = [client, "build", "--progress", "plain", "--tag", base, "--build-arg", f"SUITE={suite}"]
        run.command([*command, root / "images/base"], env=os.environ | env)
        return
    run.say("  no registry answers: making the base image from Debian's packages")
    if not shutil.which("mmdebstrap"):
        packages.install(run, "mmdebstrap")
    run.command([*packages.sudo(), root / "images/base/bootstrap", base])


def remove(run: Run, tags: Iterable[str]) -> None:
    """Remove the images that were shipped under `tags`, and what they stand on once none of ours is left.

    A container that still needs an image keeps it.
    """
    _untag(run, [f"{image.name}:{tag}" for image in SHIPPED for tag in tags])
    # Earlier builds, whose names went to later ones.
    run.command(["docker", "image", "prune", "--force", "--filter", f"label={SOURCE_LABEL}"])
    # Another clone on this machine may stand on the same base.
    if not any(_tagged(image) for image in SHIPPED):
        _untag(run, [f"{HOST.name}:{SUITE}", f"{BASE}:{SUITE}"])


def _tagged(image: Image) -> bool:
    listed = subprocess.run(["docker", "images", "--quiet", image.name], capture_output=True, text=True, check=True)
    return bool(listed.stdout.strip())


def _untag(run: Run, references: list[str]) -> None:
    there = [reference for reference in references if _image_id(reference)]
    if there:
        run.command(["docker", "rmi", *there], expect=(0, 1))


def source_digest(folder: Path, *parts: str, without: Iterable[str] = ()) -> str:
    """Return the sha256 over a build context (paths, modes of execution, contents) and `parts`.

    Files and folders named in `without`, at any depth, are left out.
    """
    digest, left_out = hashlib.sha256("\0".join(parts).encode()), {*LEFT_OUT, *without}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not left_out & set(relative.parts) and not path.name.endswith(".egg-info"):
            digest.update(f"\0{relative}\0{os.access(path, os.X_OK)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _build(run: Run, images: Path, image: Image, tag: str, suite: str = SUITE) -> str:
    folder, reference, base = images / image.folder, f"{image.name}:{tag}", f"{BASE}:{suite}"
    base_id = _image_id(base)
    if base_id is None:
        raise DeliveryError(f"the base image {base} is gone: run the same command again")
    digest = source_digest(folder, base_id, image.target or "", without=image.without)
    built = _built_from(image.name, digest)
    if built:
        run.command(["docker", "tag", built, reference])
        return reference
    run.status(f"building {reference}")
    client, env = engine.builder()
    command: list[str | Path] = [client, "build", "--progress", "plain", "--tag", reference]
    command += ["--build-arg", f"BASE={base}", "--label", f"{SOURCE_LABEL}={digest}"]
    command += ["--target", image.target] if image.target else []
    bundle = _ca_bundle()
    command += ["--secret", f"id=ca,src={bundle}"] if bundle else []
    run.command([*command, folder], env=os.environ | env, status=lambda line: f"{image.name}: {line}" if line else None)
    return reference


def _built_from(name: str, digest: str) -> str | None:
    """Return the ID of an image of this name that was built from these sources.

    The label alone is no proof: an image that somebody builds upon ours inherits it.
    """
    listed = subprocess.run(
        ["docker", "images", "--no-trunc", "--filter", f"label={SOURCE_LABEL}={digest}", "--format", "{{.ID}}", name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return listed[0] if listed else None


def _image_id(reference: str) -> str | None:
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", reference], capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _ca_bundle() -> Path | None:
    """Return the certificates that this machine trusts, a company proxy's included; builds need them too."""
    named = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    return Path(named) if Path(named).is_file() else None
