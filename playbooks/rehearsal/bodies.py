# SPDX-License-Identifier: Apache-2.0
"""Gives each instance of the emulated cloud a body: a systemd container at the instance's own address.

The cloud says which instances there should be, and the bodies follow: a new instance gets a body, a
terminated one loses it, and one that is there already is only started when it stands still.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import boto3
import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from delivery.errors import DeliveryError

LABEL = "modelyard.yard"
# How Terraform attaches a host's disk for data, and where playbooks mount it.
DATA_DEVICE = "/dev/sdf"
DATA = "/var/lib/modelyard"
SSH_TIMEOUT = 60.0


@dataclass(frozen=True)
class Instance:
    """What the cloud knows of an instance: its ID, name, private address, and the public key it lets in.

    :param disk: the ID of the volume that its data is on; None when that is the root disk.
    """

    id: str
    name: str
    address: str
    subnet: str
    public_key: str
    disk: str | None = None


def instances(endpoint: dict[str, str]) -> list[Instance]:
    """Ask the cloud which instances run.

    :param endpoint: environment variables that name the cloud (AWS_ENDPOINT_URL, AWS_REGION, credentials).
    """
    ec2 = boto3.client(
        "ec2",
        endpoint_url=endpoint["AWS_ENDPOINT_URL"],
        region_name=endpoint["AWS_REGION"],
        aws_access_key_id=endpoint["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=endpoint["AWS_SECRET_ACCESS_KEY"],
    )
    keys = {pair["KeyName"]: pair["PublicKey"] for pair in ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]}
    subnets = {subnet["SubnetId"]: subnet["CidrBlock"] for subnet in ec2.describe_subnets()["Subnets"]}
    running = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    return [
        Instance(
            id=found["InstanceId"],
            name={tag["Key"]: tag["Value"] for tag in found["Tags"]}["Name"],
            address=found["PrivateIpAddress"],
            subnet=subnets[found["SubnetId"]],
            public_key=keys[found["KeyName"]],
            disk=_disks(found).get(DATA_DEVICE),
        )
        for reservation in running["Reservations"]
        for found in reservation["Instances"]
    ]


def _disks(instance: dict[str, Any]) -> dict[str, str]:
    """Return an instance's volumes by the names under which they are attached."""
    return {disk["DeviceName"]: disk["Ebs"]["VolumeId"] for disk in instance.get("BlockDeviceMappings", [])}


def reconcile(yard: str, wanted: list[Instance], image: str, known_hosts: Path) -> dict[str, str]:
    """Make the bodies what `wanted` says; return what was done to which, nothing for those left alone.

    :param known_hosts: the file that gets each body's SSH host key, so that Ansible knows whom it meets.
    :raises DeliveryError: an address is taken, or a body does not answer on SSH.
    """
    client = docker.from_env()
    done: dict[str, str] = {}
    there: dict[str, Container] = {
        body.labels["modelyard.instance"]: body
        for body in client.containers.list(all=True, filters={"label": f"{LABEL}={yard}"})
    }
    for instance_id in there.keys() - {instance.id for instance in wanted}:
        there[instance_id].remove(v=True, force=True)
        done[str(there.pop(instance_id).name)] = "removed"
    for instance in wanted:
        body = there.get(instance.id)
        if body is None:
            there[instance.id] = _boot(client, yard, instance, image)
            done[instance.name] = "booted"
        elif body.status != "running":
            body.start()
            done[instance.name] = "started"
    known_hosts.write_text("".join(f"{one.address} {_host_key(one, there[one.id])}\n" for one in wanted))
    return done


def remove(yard: str) -> list[str]:
    """Remove all bodies of `yard`, their disks and their networks; return the bodies' names."""
    client = docker.from_env()
    bodies = client.containers.list(all=True, filters={"label": f"{LABEL}={yard}"})
    for body in bodies:
        body.remove(v=True, force=True)
    for disk in client.volumes.list(filters={"label": f"{LABEL}={yard}"}):
        disk.remove()
    for network in client.networks.list(filters={"label": f"{LABEL}={yard}"}):
        network.remove()
    return [str(body.name) for body in bodies]


def free_network(choices: str = "10.77.0.0/16") -> str:
    """Return the first /24 of `choices` that no Docker network on this machine overlaps.

    :raises DeliveryError: there is none left.
    """
    used = [
        ipaddress.ip_network(pool["Subnet"])
        for network in docker.from_env().networks.list()
        for pool in (network.attrs["IPAM"]["Config"] or [])
        if "Subnet" in pool
    ]
    for candidate in ipaddress.ip_network(choices).subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in used):
            return str(candidate)
    raise DeliveryError(f"Docker's networks on this machine take all of {choices}: remove those not needed")


def _boot(client: docker.DockerClient, yard: str, instance: Instance, image: str) -> Container:
    network = _network(client, yard, instance.subnet)
    endpoint: Any = {network: client.api.create_endpoint_config(ipv4_address=instance.address)}
    try:
        created = client.api.create_container(
            image,
            "/lib/systemd/systemd",
            name=f"{yard}-{instance.name}-{instance.id[-6:]}",
            hostname=instance.name,
            labels={LABEL: yard, "modelyard.instance": instance.id},
            environment={"AUTHORIZED_KEY": instance.public_key},
            volumes=["/var/lib/docker"],
            stop_signal="SIGRTMIN+3",
            networking_config=client.api.create_networking_config(endpoint),
            host_config=client.api.create_host_config(
                # Some kernels withhold SYS_RESOURCE; systemd and the Docker engine inside do without.
                cap_add=["ALL"],
                cap_drop=["SYS_RESOURCE"],
                security_opt=["seccomp=unconfined", "apparmor=unconfined"],
                tmpfs={"/run": "", "/tmp": ""},
                binds=["/sys/fs/cgroup:/sys/fs/cgroup:rw", *_data(client, yard, instance)],
                network_mode=network,
                restart_policy={"Name": "unless-stopped"},
            ),
        )
        body = client.containers.get(created["Id"])
        body.start()
    except APIError as error:
        raise DeliveryError(
            f"host {instance.name} cannot have the address {instance.address}: {error.explanation}"
        ) from error
    return body


def _data(client: docker.DockerClient, yard: str, instance: Instance) -> list[str]:
    """Return the mount of what stands for the instance's disk: another body of the same disk finds the same data."""
    if instance.disk is None:
        return []
    name = f"{yard}-{instance.disk}"
    client.volumes.create(name, labels={LABEL: yard})
    return [f"{name}:{DATA}"]


def _network(client: docker.DockerClient, yard: str, subnet: str) -> str:
    name = f"{yard}-{subnet.replace('/', '-')}"
    try:
        client.networks.get(name)
    except NotFound:
        pool = IPAMPool(subnet=subnet)
        try:
            client.networks.create(name, ipam=IPAMConfig(pool_configs=[pool]), labels={LABEL: yard})
        except APIError as error:
            raise DeliveryError(
                f"the network {subnet} of {yard} cannot be made on this machine: {error.explanation}; "
                "free it, or choose another with NETWORK=10.x.0.0/16"
            ) from error
    return name


def _host_key(instance: Instance, body: Container) -> str:
    """Wait until the body's SSH answers, and read its host key from its own disk."""
    deadline = time.monotonic() + SSH_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((instance.address, 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    _, key = body.exec_run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
                    return " ".join(cast("bytes", key).decode().split()[:2])
        except OSError:
            pass
        time.sleep(0.3)
    raise DeliveryError(f"host {instance.name} does not answer on SSH at {instance.address} after {SSH_TIMEOUT:.0f} s")
