# SPDX-License-Identifier: Apache-2.0
"""What the search of the history takes for a secret, and what it leaves alone."""

from __future__ import annotations

import history
import pytest

# Put together here, so that the search finds no secret in this file.
RANDOM = "q7Zx" + "2LmP9vT4" + "wK8sR1nB"


@pytest.mark.parametrize(
    "line",
    [
        "-----BEGIN " + "PRIVATE KEY-----" + "A" * 64,
        "aws_access_key_id = AKIA" + "ABCDEFGHIJKLMNOP",
        "token: ghp_" + "a1B2" * 9,
        "url: https://user:" + RANDOM + "@example.com/",
        "admin_password: " + RANDOM,
        'API_KEY="' + RANDOM + '"',
    ],
)
def test_a_secret_is_found(line: str) -> None:
    assert list(history.secrets(line))


@pytest.mark.parametrize(
    "line",
    [
        'password: "{{ modelyard_admin_password }}"',
        "password = os.environ['MODELYARD_ADMIN_PASSWORD']",
        "secret_key_is_read_from: /etc/modelyard/secrets",
        "token: canary-of-the-tests-12",
        "url: https://user:password@example.com/",
        "--hash=sha256:00a50d063aae2e69c2eb28818ccf6dc3e51f2ea5b74e3c2082a47943ee23f399",
    ],
)
def test_what_only_speaks_of_secrets_is_not(line: str) -> None:
    assert not list(history.secrets(line))
