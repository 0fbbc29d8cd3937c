# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The host's side of image_transfer: does what is asked on standard input, step by step, and prints one answer.

A question has the bytes of its text in a first line, then the text in JSON, then a pack of chunks up to the end:

    engine_socket, staging    where the engine and the chunks are
    check                     whether nothing may be changed
    steps                     what to do: the name of a step and its arguments, for each

The answer is one line in JSON after a mark, since shells, sudo and whoever greets at a login may print others:

    answers     what each step came to; a load that did not bring its image is the last one
    warnings    texts for a person
    failed      why the next step could not be done; empty when all were

It runs with nothing but Python's standard library. To import that is most of the time that a look takes: so a step's
own modules are imported when it is asked for, and what all need does without the slow ones, such as dataclasses.
"""

from __future__ import annotations

import json
import os
import typing as t

from .engine import Engine, EngineError, EngineUnreachable
from .image_key import ImageError
from .image_pack import Staging

MARK = "modelyard-answer:"

Answer = dict[str, t.Any]


def main(stream: t.IO[bytes], output: t.TextIO) -> None:
    """Answer the question in `stream`."""
    question = json.loads(stream.read(int(stream.readline())))
    output.write(f"\n{MARK}{json.dumps(answer(question, stream))}\n")
    output.flush()


def answer(question: dict[str, t.Any], pack: t.IO[bytes]) -> Answer:
    """Do the steps of a question; returns the answer to it."""
    agent = Agent(question, pack)
    steps = {"look": agent.look, "load": agent.load, "prune": agent.prune, "pull": agent.pull}
    answers: list[Answer] = []
    failed = ""
    try:
        for name, arguments in question["steps"]:
            answers.append(steps[name](arguments))
            if answers[-1].get("outcome", "present") not in ("loaded", "present"):
                break
    except (ImageError, EngineError, EngineUnreachable, OSError) as error:
        failed = str(error)
    return {"answers": answers, "warnings": agent.warnings, "failed": failed}


class Agent:
    """The steps that there are; each takes its arguments, and returns what it came to.

    :ivar warnings: what a person should know.
    """

    def __init__(self, question: dict[str, t.Any], pack: t.IO[bytes]) -> None:
        self._engine = Engine(question["engine_socket"])
        self._staging = Staging(question["staging"])
        self._check: bool = question["check"]
        self._pack = pack
        self.warnings: list[str] = []

    def look(self, wanted: dict[str, t.Any]) -> Answer:
        """What there is of images; makes the folder in which their chunks will arrive."""
        from .image_look import incomplete, look

        found = look(self._engine, wanted["images"], self._staging, wanted["keep"], wanted["apps"])
        self._warn(found.pop("warning", ""))
        if found["engine"] and incomplete(found, wanted["images"]) and not self._check:
            self._staging.prepare(visitor())
        return found

    def load(self, wanted: dict[str, t.Any]) -> Answer:
        """Bring an image into the engine; `pack` names the pack that came with the question, or is empty."""
        from .image_loader import answer as unloaded
        from .image_loader import bring
        from .image_target import Target

        if wanted["pack"]:
            try:
                self._staging.receive(wanted["pack"], self._pack)
            except OSError as error:
                return unloaded("interrupted", reason=f"what arrived cannot be kept: {error}")
        try:
            done, warning = bring(Target(self._engine, self._staging.records), self._staging, wanted)
        except EngineUnreachable as error:
            return unloaded("interrupted", reason=str(error))
        self._warn(warning)
        return done

    def prune(self, wanted: dict[str, t.Any]) -> Answer:
        """Remove the images that are needed no more; see image_house."""
        from .image_house import prune
        from .image_target import Target

        images = [(image["name"], image["key"]) for image in wanted["images"]]
        try:
            with self._staging.locked():
                target = Target(self._engine, self._staging.records)
                gone, refusals = prune(target, images, wanted["keep"], wanted["apps"])
        except (OSError, ValueError, KeyError) as error:
            raise ImageError(
                f"no image is removed, since a release or a record of images cannot be read: {error!r}"
            ) from error
        for refusal in refusals:
            self._warn(f"an image that is needed no more stays: {refusal}")
        return {"removed": [{"name": record.names[-1], "key": record.key} for record in gone]}

    def pull(self, wanted: dict[str, t.Any]) -> Answer:
        """Have the engine pull an image; see image_pull."""
        from .image_pull import pull, registry_of, unpulled
        from .image_target import Target

        name, reference, password = wanted["name"], wanted["reference"], wanted.get("password", "")
        credentials = (wanted["username"], password) if wanted.get("username") else None
        registry_of(reference)
        try:
            target = Target(self._engine, self._staging.records)
            if self._check:
                return pull(target, name, reference, credentials, dry=True)
            with self._staging.locked():
                return pull(target, name, reference, credentials)
        except EngineUnreachable:
            if self._check:
                return unpulled("")
            raise
        except EngineError as error:
            # A registry may say again what it was told.
            reason = error.message.replace(password, "********") if password else error.message
            raise ImageError(f"{name}: the engine does not pull {reference}: {reason}") from error

    def _warn(self, warning: str) -> None:
        if warning:
            self.warnings.append(warning)


def visitor() -> int | None:
    """The user who logged in, when this process got its privileges by sudo."""
    uid = os.environ.get("SUDO_UID", "")
    return int(uid) if uid.isdigit() and os.geteuid() == 0 else None
