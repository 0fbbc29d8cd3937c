# SPDX-License-Identifier: Apache-2.0
"""What is no longer as the commit says: in the cloud, beside it, and on the hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from .plan import Plan

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>[^\]]+)\]")
_CHANGED = re.compile(r"^changed: \[(?P<host>[^\]]+)\](?: => \(item=(?P<item>.*)\))?")


@dataclass(frozen=True)
class Drift:
    """Everything that differs, each as a line that a person can act on.

    :param cloud: what Terraform would change.
    :param strangers: what lies in the network and Terraform knows nothing of.
    :param hosts: the tasks that would change something, after their host.
    :param plan: the digest of Terraform's plan, for who wants it applied.
    """

    cloud: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    plan: str = ""

    def __bool__(self) -> bool:
        return bool(self.cloud or self.strangers or self.hosts)

    def markdown(self, environment: str, commit: str) -> str:
        """Return what differs as an issue tells it."""
        if not self:
            return f"{environment} is what commit `{commit}` says."
        parts = [
            (self.cloud, "In the cloud", f"to change it back, start Deliver by hand with plan `{self.plan}`"),
            (
                self.strangers,
                "In the cloud, made by hand",
                "no delivery touches what Terraform does not know: remove it",
            ),
            (self.hosts, "On the hosts", "the next delivery repairs it"),
        ]
        told = [
            f"**{title}** ({what_follows}):\n\n" + "\n".join(f"- `{line}`" for line in lines)
            for lines, title, what_follows in parts
            if lines
        ]
        return f"{environment} is no longer what commit `{commit}` says.\n\n" + "\n\n".join(told)


def in_cloud(plan: Plan) -> tuple[str, ...]:
    """Return what Terraform would change; a changed output alone is no drift."""
    return tuple(str(change) for change in plan.changes if not change.address.startswith("output."))


def strangers(ec2: Any, known: Set[str]) -> tuple[str, ...]:
    """Return what is in the networks that Terraform knows without Terraform knowing it.

    A plan cannot see these: instances, security groups and volumes that somebody made by hand.

    :param ec2: a boto3 client.
    :param known: the IDs of all that Terraform's state holds.
    """
    networks = sorted(one for one in known if one.startswith("vpc-"))
    return tuple(sorted(_strangers(ec2, known, networks))) if networks else ()


def on_hosts(lines: Sequence[str]) -> tuple[str, ...]:
    """Read from a playbook's check run which tasks would change something, and where."""
    found: list[str] = []
    task = ""
    for line in lines:
        if headline := _TASK.match(line):
            task = headline["name"]
        elif changed := _CHANGED.match(line):
            item = f" ({changed['item']})" if changed["item"] else ""
            found.append(f"{changed['host']}: {task}{item}")
    return tuple(dict.fromkeys(found))


def _strangers(ec2: Any, known: Set[str], networks: list[str]) -> Iterator[str]:
    here = [{"Name": "vpc-id", "Values": networks}]
    instances = [
        instance
        for reservation in ec2.describe_instances(Filters=here)["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] != "terminated"
    ]
    for instance in instances:
        if instance["InstanceId"] not in known:
            yield f"instance {instance['InstanceId']} at {instance.get('PrivateIpAddress', 'no address')}"
        disks = {disk["DeviceName"]: disk["Ebs"]["VolumeId"] for disk in instance.get("BlockDeviceMappings", [])}
        for device, volume in disks.items():
            if device != instance.get("RootDeviceName") and volume not in known:
                yield f"volume {volume} on {instance['InstanceId']} as {device}"
    for group in ec2.describe_security_groups(Filters=here)["SecurityGroups"]:
        if group["GroupId"] not in known:
            yield f"security group {group['GroupId']} ({group['GroupName']})"
