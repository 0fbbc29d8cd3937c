# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import executed

PRINTED = """
TASK [Gathering Facts] *********************************************************
Saturday 28 November 2026  22:00:00 +0000 (0:00:00.034)       0:00:00.034 *****
ok: [one]

TASK [modelyard.mlops.docker : Look at each] ***********************************
ok: [one] => (item=a)
skipping: [one] => (item=b)
ok: [one] => (item=c)
ok: [two -> localhost] => (item=a)

TASK [modelyard.mlops.docker : Install] ****************************************
skipping: [one]
skipping: [two]

TASK [modelyard.mlops.docker : Have the steps of this system] ******************
included: /collection/roles/docker/tasks/package.yml for one, two

RUNNING HANDLER [modelyard.mlops.docker : Restart] *****************************
changed: [two]

TASK [modelyard.mlops.grafana : Install] ***************************************
skipping: [one]

TASK [modelyard.mlops.ingress : Ask] *******************************************
fatal: [one]: FAILED! => {"changed": false}
...ignoring

PLAY RECAP *********************************************************************
one                        : ok=4    changed=0    unreachable=0    failed=0
"""


def test_a_task_counts_once_on_each_host_that_did_not_skip_it() -> None:
    assert executed.by_role(PRINTED) == {"docker": 3, "ingress": 1}
