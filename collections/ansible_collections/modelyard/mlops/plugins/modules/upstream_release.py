#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Install one version of a product from its release archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upstream_release
short_description: Install one version of a product from its release archive
version_added: "0.1.0"
author: The Modelyard authors (@modelyard)
description:
  - Unpacks a release archive into a folder named after its version and points the link C(current) to it.
  - The archive is checked against its sum before anything of it is unpacked. What is there already is not
    downloaded again; a run that changes nothing uses no network.
  - The version that was in use before is kept for the way back; older ones are removed.
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Says which version would be installed, without downloading it.
  diff_mode:
    support: full
    details: The version in use before and after.
  idempotent:
    support: full
options:
  folder:
    description: Where the versions of this product live.
    type: path
    required: true
  version:
    description: The exact version; it names the folder.
    type: str
    required: true
  url:
    description: Address of the tar archive. All in it lies below one first folder, which is left out.
    type: str
    required: true
  sha256:
    description: The archive's sum.
    type: str
    required: true
  timeout:
    description: Seconds without an answer after which the download is given up.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Install Prometheus, with only what is required
  modelyard.mlops.upstream_release:
    folder: /opt/modelyard/prometheus
    version: 2.55.1
    url: https://github.com/prometheus/prometheus/releases/download/v2.55.1/prometheus-2.55.1.linux-amd64.tar.gz
    sha256: 19700bdd42ec31ee162e4079ebda4cd0a44432df4daa637141bdbea4b1cd8927
  become: true

- name: Install Prometheus over a slow line, with every option
  modelyard.mlops.upstream_release:
    folder: /opt/modelyard/prometheus
    version: 2.55.1
    url: https://github.com/prometheus/prometheus/releases/download/v2.55.1/prometheus-2.55.1.linux-amd64.tar.gz
    sha256: 19700bdd42ec31ee162e4079ebda4cd0a44432df4daa637141bdbea4b1cd8927
    timeout: 300
  become: true
"""

RETURN = r"""
path:
  description: The folder of this version.
  returned: success
  type: str
  sample: /opt/modelyard/prometheus/2.55.1
downloaded:
  description: Whether the archive was, or in check mode would be, downloaded.
  returned: success
  type: bool
  sample: false
"""

import tarfile
from http.client import HTTPException

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.modelyard.mlops.plugins.module_utils.upstream_release import Release, ReleaseError, unpack, use


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    release = Release(parameters["folder"], parameters["version"], parameters["sha256"])
    try:
        release.check()
        before = release.current()
        missing = not release.installed()
        changed = missing or before != release.version
        if changed and not module.check_mode:
            if missing:
                with open_url(parameters["url"], timeout=parameters["timeout"]) as answer:
                    unpack(release, answer)
            use(release)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    except (OSError, HTTPException, tarfile.TarError) as error:
        module.fail_json(msg=f"{parameters['url']}: {error}")
    module.exit_json(
        changed=changed,
        path=release.path,
        downloaded=missing,
        diff={
            "before_header": release.link,
            "after_header": release.link,
            "before": f"{before}\n" if before else "",
            "after": f"{release.version}\n",
        },
    )


if __name__ == "__main__":
    main()
