# SPDX-License-Identifier: Apache-2.0
"""The verbs of the Makefile, each a few lines: the order of things, and nothing of how they are done."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rehearsal import bodies, cloud

from . import credentials as keys
from . import engine, images, preflight, site, summary
from . import secrets as passwords
from . import terraform as infrastructure
from .errors import DeliveryError
from .run import Run
from .yard import Yard

VERBS: dict[str, Callable[[Run, Yard, list[str]], None]] = {}


def verb(function: Callable[[Run, Yard, list[str]], None]) -> Callable[[Run, Yard, list[str]], None]:
    """Make a function callable as `python -m delivery NAME`."""
    VERBS[function.__name__] = function
    return function


@verb
def up(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Prepare this machine, deliver, and say where everything is."""
    with run.phase("machine"):
        preflight.check(yard.root, rehearsed=yard.rehearsed)
        engine.ensure(run, yard.state)
    deliver(run, yard, arguments)


@verb
def deliver(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Make the yard's hosts what the commit says."""
    if yard.rehearsed:
        passwords.ensure(yard.secrets)
    terraform(run, yard, [])
    build(run, yard, [])
    recap = _site(run, yard, arguments)
    _summarise(run, yard, sum(host.changed for host in recap.values()))


@verb
def terraform(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Apply Terraform; in the rehearsal, start the cloud before and give the instances bodies after."""
    with run.phase("terraform"):
        environment = _cloud(yard, start=True)
        if infrastructure.deliver(run, yard, environment, _variables(yard)).changed:
            run.say("  the cloud was changed")
    if yard.rehearsed:
        with run.phase("hosts"):
            image = images.build_host(run, yard.root)
            done = bodies.reconcile(yard.name, bodies.instances(environment), image, yard.known_hosts)
            for name, what in done.items():
                run.say(f"  {name}: {what}")


@verb
def bootstrap(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Make the state's bucket and let a repository's workflows in: `bootstrap [OWNER/NAME]`."""
    with run.phase("bootstrap"):
        environment = _cloud(yard, start=True)
        infrastructure.bootstrap(run, yard, environment, arguments[0] if arguments else None)


@verb
def build(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Build the images of this commit."""
    tag = yard.commit()
    with run.phase("images"):
        yard.note_tag(tag)
        images.build(run, yard.root, tag)


@verb
def archives(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Save the images of this commit as archives, for hosts and controllers without an engine to build on."""
    build(run, yard, [])
    with run.phase("archives"):
        for path in images.save(run, yard.commit(), yard.state / "archives"):
            run.say(f"  {path} ({path.stat().st_size / 1e6:.0f} MB)")


@verb
def play(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Run one playbook by hand: `play PLAYBOOK [ansible-playbook's options]`, output on the screen."""
    environment = site.environment(yard, _cloud(yard))
    command = site.command(yard, arguments[0], arguments[1:])
    os.execvpe(command[0], command, environment)


@verb
def train(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Train once more, and redeploy with the model that is best now."""
    build(run, yard, [])
    with run.phase("train"):
        recap = site.play(run, yard, "train.yml", _cloud(yard), arguments)
    _summarise(run, yard, sum(host.changed for host in recap.values()))


@verb
def status(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Say where everything is and what serves."""
    _summarise(run, yard, None)


@verb
def secrets(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Make the passwords that the yard has not got yet."""
    made = passwords.ensure(yard.secrets)
    run.say(f"{yard.secrets}: {'made' if made else 'nothing is missing'}")


@verb
def credentials(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Put the keys that a workflow has in its environment where SSH and Ansible look for them."""
    for path in keys.place(yard, os.environ):
        run.say(f"{path}: written")


@verb
def address(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Print the API's address and nothing else, for other commands."""
    print(_api_address(yard))


@verb
def down(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Remove all that `up` made for this yard, and nothing else; production wants its name said."""
    if not yard.rehearsed and arguments != [yard.name]:
        raise DeliveryError(
            f"this destroys the servers of {yard.name} and what is on them; "
            f"if that is meant: make down ENV={yard.environment} ARGS={yard.name}"
        )
    with run.phase("down"):
        if yard.rehearsed and cloud.running(yard.state) is None:
            run.say("  its cloud is not running: nothing to destroy there")
        else:
            infrastructure.destroy(run, yard, _cloud(yard), _variables(yard))
        if not yard.rehearsed:
            return
        for name in bodies.remove(yard.name) if engine.answers() else []:
            run.say(f"  {name}: removed")
        cloud.stop(yard.state)
        if engine.answers():
            images.remove(run, yard.tags())
        if not yard.others() and engine.stop(yard.state):
            run.say("  the Docker engine that `make up` started is stopped")
    shutil.rmtree(yard.state)
    print(f"{yard.name} is gone. The tools stay in .venv and .ansible: `make clean` removes them.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit code."""
    parser = argparse.ArgumentParser(prog="delivery", description=__doc__)
    parser.add_argument("verb", choices=sorted(VERBS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.add_argument("--env", default=os.environ.get("ENV", "rehearsal"), help="the environment's folder")
    parser.add_argument("--yard", default=os.environ.get("YARD") or None, help="its name, when not the folder's")
    options = parser.parse_args(argv)
    # A workflow that is cancelled sends SIGTERM: treat it as a person's Ctrl-C, which children may finish after.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yard = Yard.named(options.env, options.yard)
        if options.verb in ("play", "address"):
            VERBS[options.verb](Run(yard.log), yard, options.arguments)
            return 0
        with yard.locked(options.verb):
            VERBS[options.verb](Run(yard.log), yard, options.arguments)
    except DeliveryError as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n✗ stopped; nothing is left locked, and `make {options.verb}` again finishes the job", file=sys.stderr)
        return 130
    return 0


def _cloud(yard: Yard, start: bool = False) -> dict[str, str]:
    """Return the environment in which the yard's cloud is reached: the emulated one's in the rehearsal."""
    if not yard.rehearsed:
        return dict(os.environ)
    running = cloud.start(yard.state) if start else cloud.running(yard.state)
    if running is None:
        raise DeliveryError(f"{yard.name} is not up: run `make up` first")
    reach = cloud.environment(running)
    return {**os.environ, **reach}


def _variables(yard: Yard) -> dict[str, str]:
    """Return what differs between two rehearsals; production's values are all in its folder."""
    if not yard.rehearsed:
        return {}
    network = yard.state / "network"
    if not network.exists():
        network.write_text(os.environ.get("NETWORK") or bodies.free_network())
    if not yard.private_key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", yard.name, "-f", yard.private_key], check=True
        )
    return {
        "name": yard.name,
        "network_cidr": network.read_text().strip(),
        "ssh_public_key": yard.private_key.with_suffix(".pub").read_text().strip(),
    }


def _site(run: Run, yard: Yard, arguments: Sequence[str]) -> dict[str, site.Recap]:
    with run.phase("site"):
        return site.play(run, yard, "site.yml", _cloud(yard), arguments)


def _summarise(run: Run, yard: Yard, changed: int | None) -> None:
    address = _api_address(yard)
    try:
        found = summary.served(address, yard)
    except OSError as error:
        raise DeliveryError(f"the API at http://{address}/ does not say what it serves: {error}") from error
    text = summary.text(yard, address, found, run.durations, changed)
    run.say(text)
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(page, "a") as file:
            file.write(f"```text\n{text.strip()}\n```\n")
    (yard.state / "summary.json").write_text(json.dumps({"address": address, "seconds": run.durations}) + "\n")


def _api_address(yard: Yard) -> str:
    """Return the address of the first host of group `app`, as the inventory has it."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "-i", yard.inventory, "--list"],
        env=site.environment(yard, _cloud(yard)),
        cwd=yard.root,
        capture_output=True,
        text=True,
    )
    try:
        found = json.loads(done.stdout)
        host = found["_meta"]["hostvars"][found["app"]["hosts"][0]]["ansible_host"]
        # Ansible marks what comes from a cloud as not to be templated.
        return str(host["__ansible_unsafe"] if isinstance(host, dict) else host)
    except (ValueError, LookupError) as error:
        raise DeliveryError(f"no host of group `app` in {yard.inventory}: {done.stderr.strip()[-500:]}") from error
