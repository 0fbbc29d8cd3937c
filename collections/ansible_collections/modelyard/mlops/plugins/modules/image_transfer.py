#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Documentation of the action plugin image_transfer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_transfer
short_description: Bring container images to a host without a registry
description:
  - Only the layers that the host does not have travel, compressed, over Ansible's own connection.
  - An image is known by its key, the digest of its configuration, which names all layers. The name is moved last, and
    only to an image whose key has been verified on the host.
  - The controller exports an image once for all hosts, into a cache of compressed chunks which all images share. As
    root, it reads only the changed layers out of the engine's own folder and verifies them; otherwise it takes what
    C(docker save) gives.
  - A transfer that was cut goes on at the chunk where it stopped, in the same run and in a later one.
  - A host that has the image is left alone after one look at it; the image is not exported then.
  - The classic store gets an archive without the lowest layers that it has, the containerd store an OCI layout without
    the blobs that it has. When the engine refuses that, and always with Podman, the archive is whole.
  - Older images which were brought this way and are needed no more are removed.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.attributes.action
attributes:
  check_mode:
    support: full
    details:
      - Changes nothing on the host, and works on one that has no engine yet.
      - Fills the controller's cache, since only then the compressed sizes are known.
  diff_mode:
    support: full
    details: Shows the plan, that is layers, bytes and disk space of each image that is not there.
  idempotent:
    support: full
  action:
    support: full
    details:
      - The work is divided between the controller and a program of some kilobytes which is sent to the host's Python
        with each question. Credentials reach it on standard input only.
options:
  images:
    description: The images that the host has to have.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The reference that the image gets on the host, with a tag that is not C(latest).
        type: str
        required: true
      source:
        description:
          - Where it comes from.
          - V(docker-daemon) is the controller's engine, found by the environment variable E(DOCKER_HOST) or at its
            usual place; V(docker-archive) a file that C(docker save) wrote; V(oci) an OCI layout, as a folder or in a
            tar, so that the controller needs no engine. Of several platforms in it, that of the host is taken.
          - V(registry) is a registry from which the host's engine itself pulls, by the digest, which it proves. An
            engine with the containerd store is refused, since it does not tell the key of what it has pulled.
        type: str
        choices: [docker-daemon, docker-archive, oci, registry]
        default: docker-daemon
      reference:
        description:
          - What it is called at its source. The O(images[].name) when not given.
          - For V(registry) it has to be C(registry/repository@sha256:DIGEST).
        type: str
      path:
        description: The archive or layout on the controller. A relative path starts at the playbook's folder.
        type: str
  credentials:
    description:
      - For each registry, as the references name it, a dictionary with C(username) and C(password).
      - They go to the host's engine with the request to pull, and no file keeps them.
    type: dict
    default: {}
  engine_socket:
    description: The unix socket of the host's engine.
    type: path
    default: /var/run/docker.sock
  staging:
    description: The folder on the host in which chunks wait until their image is loaded.
    type: path
    default: /var/lib/modelyard/images/staging
  cache_path:
    description: The cache's folder on the controller. Empty is C(modelyard/images) in the user's cache folder.
    type: str
    default: ""
  cache_max_gib:
    description: What the cache may take before it drops what was not used for longest.
    type: float
    default: 20.0
  cache_max_days:
    description: After how many days without use something is dropped from the cache.
    type: float
    default: 14.0
  keep:
    description:
      - How many images of each repository stay on the host, at least 1. Of the older ones only those go that were
        brought by this module and have no name which others gave them. What is wanted, what a container was made from
        (running or not), and what belongs to a release that an app keeps, stays in any case.
      - Only a run that brings something removes something.
    type: int
    default: 3
  apps:
    description: The folder on the host in which the releases of apps are recorded.
    type: path
    default: /var/lib/modelyard/apps
notes:
  - Needs the rights to use the host's engine, so usually C(become).
  - The host needs Python 3.10 or newer, the one that Ansible's modules run with, and nothing but its standard library.
"""

EXAMPLES = r"""
- name: Bring an image that was built here, with only what is required
  modelyard.mlops.image_transfer:
    images:
      - name: modelyard/iris-api:3f2a1c9
  become: true

- name: Bring images from everywhere, with every option
  modelyard.mlops.image_transfer:
    images:
      - name: modelyard/iris-api:3f2a1c9
        source: docker-daemon
        reference: iris-api:build
      - name: modelyard/mlflow:3f2a1c9
        source: docker-archive
        path: artifacts/mlflow.tar
      - name: modelyard/iris-train:3f2a1c9
        source: oci
        path: artifacts/iris-train
      - name: example/tool:2.0.0
        source: registry
        reference: "registry.example.org/tool@sha256:{{ tool_digest }}"
    credentials:
      registry.example.org:
        username: reader
        password: "{{ vault_registry_password }}"
    engine_socket: /var/run/docker.sock
    staging: /var/lib/modelyard/images/staging
    cache_path: /var/cache/modelyard/images
    cache_max_gib: 50
    cache_max_days: 30
    keep: 3
    apps: /var/lib/modelyard/apps
  become: true
"""

RETURN = r"""
images:
  description: What became of each image, by its name. In check mode, what would become of it.
  returned: always
  type: dict
  contains:
    key:
      description: The image's key.
      type: str
    id:
      description: The host's engine's own ID of the image; empty when it is not there.
      type: str
    changed:
      description: Whether the image was brought or its name moved.
      type: bool
    path:
      description:
        - V(present), V(tag) (only the name moved), V(thin) (only layers that were missing travelled), V(full), or
          V(pull) (the host pulled it).
      type: str
    reason:
      description: Why all layers travelled, when they did.
      type: str
    store:
      description: The store of the host's engine, V(classic), V(containerd) or V(podman).
      type: str
    bytes_total:
      description: The size of the uncompressed image.
      type: int
    bytes_exported:
      description:
        - The uncompressed bytes that were put into the controller's cache for this host. V(0) where they were there,
          as for all but one of the hosts that want the same.
      type: int
    bytes_sent:
      description: The bytes that were put on the connection.
      type: int
    bytes_skipped:
      description: The uncompressed bytes that did not have to travel.
      type: int
    layers_total:
      description: The number of its layers.
      type: int
    layers_sent:
      description: The number of layers that travelled.
      type: int
    layers_skipped:
      description: The number of layers that did not have to.
      type: int
    seconds:
      description: How long it took.
      type: float
removed:
  description: The names of the images that were removed, since nothing needs them any more.
  returned: always
  type: list
  elements: str
"""
