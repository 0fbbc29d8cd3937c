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
from dataclasses import asdict

from rehearsal import bodies, cloud

from . import bucket, engine, galaxy, images, preflight, reports, site, sources, summary, vault
from . import credentials as keys
from . import drift as drift_of
from . import secrets as passwords
from . import terraform as infrastructure
from .errors import DeliveryError
from .github import Repository
from .plan import Plan
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
    sources.check(yard.root)
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
        if infrastructure.deliver(run, yard, environment, _variables(yard), _accept(yard)).changed:
            run.say("  the cloud was changed")
    if yard.rehearsed:
        with run.phase("hosts"):
            image = images.build_host(run, yard.root)
            done = bodies.reconcile(yard.name, bodies.instances(environment), image, yard.known_hosts)
            for name, what in done.items():
                run.say(f"  {name}: {what}")


@verb
def plan(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Say what a delivery would change in the cloud; change nothing."""
    with run.phase("plan"):
        found, _ = infrastructure.look(run, yard, _cloud(yard, start=True), _variables(yard))
    _report(run, yard, "plan", reports.Report(f"Plan for {yard.name}", found.markdown(yard.name)))


@verb
def preview(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Say what a delivery would change on the hosts that there are; change nothing."""
    found = drift_of.Drift(hosts=_check(run, yard))
    listed = "\n".join(f"- `{line}`" for line in found.hosts) or "Nothing would change on the hosts."
    _report(run, yard, "preview", reports.Report(f"Preview for {yard.name}", f"### Hosts, {yard.name}\n\n{listed}"))


@verb
def drift(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Say what in the cloud and on the hosts is no longer as the commit says; change nothing."""
    with run.phase("cloud"):
        environment = _cloud(yard)
        planned, known = infrastructure.look(run, yard, environment, _variables(yard))
        strangers = drift_of.strangers(bucket.client("ec2", environment), known)
    found = drift_of.Drift(drift_of.in_cloud(planned), strangers, _check(run, yard), planned.digest)
    text = found.markdown(yard.name, yard.commit())
    _report(run, yard, "drift", reports.Report(f"{yard.name} has drifted", text, wrong=bool(found)))
    if found:
        raise DeliveryError(f"{yard.name} has drifted: `make deliver` puts right what Terraform and the roles know")


@verb
def report(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Tell GitHub what a verb found: `plan` and `preview` on pull request NUMBER, the others as an issue."""
    what, *number = arguments
    run.say(reports.tell(yard, what, int(number[0]) if number else None, os.environ))


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
    """Make the secrets that the yard has not got yet: production's into its vault, for a commit."""
    if yard.rehearsed:
        made = passwords.ensure(yard.secrets)
        run.say(f"{yard.secrets}: {', '.join(made) or 'nothing is missing'}")
        return
    password_file = yard.state / keys.VAULT_PASSWORD_FILE
    made = vault.ensure(yard.vault, password_file)
    run.say(f"{yard.vault}: {', '.join(made) or 'nothing is missing'}\nIts password is in {password_file}: keep it")


@verb
def credentials(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Put the keys that a workflow has in its environment where SSH and Ansible look for them."""
    for path in keys.place(yard, os.environ):
        run.say(f"{path}: written")


@verb
def collection(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Build the collection into dist/; with a tag, for its release."""
    with run.phase("collection"):
        archive = galaxy.build(run, yard.root, yard.root / "dist", arguments[0] if arguments else None)
    run.say(f"{archive}")


@verb
def publish(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Publish what `collection` built on Galaxy."""
    built = list((yard.root / "dist").glob("*.tar.gz"))
    if len(built) != 1 or not os.environ.get("GALAXY_API_KEY"):
        raise DeliveryError(f"dist/ holds {len(built)} archives, one is published, with the key in GALAXY_API_KEY")
    with run.phase("publish"):
        galaxy.publish(run, built[0], os.environ["GALAXY_API_KEY"])


@verb
def address(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Print the API's address and nothing else, for other commands."""
    print(site.places(yard, _cloud(yard)).app)


@verb
def down(run: Run, yard: Yard, arguments: list[str]) -> None:
    """Remove all that `up` made for this yard, and nothing else; production wants its name said, and no other."""
    if arguments != [yard.name] and (arguments or not yard.rehearsed):
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
            _tracked(options.verb, yard, options.arguments)
    except DeliveryError as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n✗ stopped; nothing is left locked, and `make {options.verb}` again finishes the job", file=sys.stderr)
        return 130
    return 0


def _tracked(name: str, yard: Yard, arguments: list[str]) -> None:
    """Run a verb; when it is the delivery, keep a report of how it ended for the workflow to tell."""
    run = Run(yard.log)
    if name not in ("deliver", "train"):
        VERBS[name](run, yard, arguments)
        return
    reports.forget(yard, name)
    try:
        VERBS[name](run, yard, arguments)
    except DeliveryError as error:
        told = f"Commit `{yard.commit()}` did not get to {yard.name}; what served before still does."
        text = f"{told}\n\n```text\n{error}\n```"
        reports.keep(yard, name, reports.Report(f"`make {name}` to {yard.name} failed", text, wrong=True))
        raise
    reports.keep(yard, name, reports.Report("", f"Commit `{yard.commit()}` was delivered to {yard.name}."))


def _accept(yard: Yard) -> Callable[[Plan], None] | None:
    """Return what refuses a plan: in a workflow that asks for a review, all but the reviewed one."""
    if os.environ.get("REVIEW") != "required":
        return None
    # Who starts a delivery by hand says which plan they have read.
    approved = os.environ.get("APPROVED_PLAN")
    return lambda found: found.check(
        approved or Repository.here(os.environ).reviewed_plan(os.environ["GITHUB_SHA"], f"plan {yard.name}")
    )


def _check(run: Run, yard: Yard) -> tuple[str, ...]:
    """Return the tasks of site.yml that would change something on the hosts, and what kept it from seeing the rest."""
    build(run, yard, [])
    with run.phase("hosts"):
        code, printed = site.attempt(run, yard, "site.yml", _cloud(yard), ["--check"])
    found = drift_of.on_hosts(printed)
    # What a repair would bring back may be what a later task asks: a check repairs nothing, and ends there.
    return (*found, f"the check ended early: {site.reasons(printed)[0]}") if code else found


def _report(run: Run, yard: Yard, what: str, found: reports.Report) -> None:
    reports.keep(yard, what, found)
    run.say(f"\n{found.text}")
    _add_to_job_page(found.text)


def _add_to_job_page(text: str) -> None:
    """Show a text on the page of the workflow's job, when this is one."""
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(page, "a") as file:
            file.write(f"{text}\n")


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
    places = site.places(yard, _cloud(yard))
    try:
        found = summary.served(places, yard)
    except OSError as error:
        raise DeliveryError(f"the API at http://{places.app}/ does not say what it serves: {error}") from error
    text = summary.text(yard, places, found, run.durations, changed)
    run.say(text)
    _add_to_job_page(f"```text\n{text.strip()}\n```")
    (yard.state / "summary.json").write_text(json.dumps({**asdict(places), "seconds": run.durations}) + "\n")
