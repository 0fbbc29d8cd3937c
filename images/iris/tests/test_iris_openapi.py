# SPDX-License-Identifier: Apache-2.0
"""The description of the interface and the page: both lie there as files, so here is what keeps them true.

That each answer of the service is a described one, the fixture `client` checks in every test that uses it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from werkzeug.test import Client

from iris_model import __version__
from iris_model.data import FEATURES, SPECIES
from iris_model.serving.counts import ENDPOINTS, STATUSES
from iris_model.serving.validation import MAX_BODY, MAX_ROWS, Parser


@pytest.fixture(scope="module")
def document(client: Client) -> Any:
    return client.get("/openapi.json").json


def test_each_route_is_described_and_nothing_else(client: Any, document: Any) -> None:
    routes = {rule.rule: (rule.methods or set()) - {"HEAD"} for rule in client.express.flask.url_map.iter_rules()}
    assert {path: {method.upper() for method in methods} for path, methods in document["paths"].items()} == routes
    assert {*routes, "other"} == set(ENDPOINTS)


def test_each_described_status_is_counted_as_itself(document: Any) -> None:
    described = {status for path in document["paths"].values() for way in path.values() for status in way["responses"]}
    assert {*described, "404", "405", "other"} == set(STATUSES)


def test_each_described_refusal_happens(client: Client, document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(body: str, content_type: str = "application/json") -> str:
        return str(client.post("/predict", data=body, content_type=content_type).status_code)

    happened = {
        ask("{"),
        ask(" " * (MAX_BODY + 1)),
        ask("{}", "text/plain"),
        ask('{"features": []}'),
        ask('{"features": [[5.1, 3.5, 1.4, 0.2]], "probabilities": true}'),
    }
    monkeypatch.setattr(Parser, "__call__", lambda *_: 1 / 0)
    happened.add(ask("{}"))
    assert happened == set(document["paths"]["/predict"]["post"]["responses"])


def test_the_numbers_are_those_of_the_code(document: Any) -> None:
    schemas = document["components"]["schemas"]
    rows = schemas["Query"]["properties"]["features"]
    largest = float(np.finfo(np.float32).max)
    assert document["info"]["version"] == __version__
    assert rows["maxItems"] == MAX_ROWS
    assert rows["items"]["minItems"] == rows["items"]["maxItems"] == len(FEATURES)
    assert (rows["items"]["items"]["minimum"], rows["items"]["items"]["maximum"]) == (-largest, largest)
    assert ", ".join(FEATURES) in rows["description"]
    assert schemas["Problem"]["properties"]["feature"]["enum"] == list(FEATURES)
    answer = schemas["Predictions"]["properties"]
    assert answer["predictions"]["items"]["maximum"] == len(SPECIES) - 1
    assert answer["predictions"]["description"] == ", ".join(f"{n} {name}" for n, name in enumerate(SPECIES)) + "."
    assert answer["probabilities"]["items"]["minItems"] == len(SPECIES)


def test_the_largest_numbers_are_accepted(client: Client) -> None:
    largest = float(np.finfo(np.float32).max)
    assert client.post("/predict", json={"features": [[largest, -largest, 0, 1]]}).status_code == 200


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_the_page_has_a_labelled_field_for_each_feature_and_a_row_for_each_species(client: Client) -> None:
    page = Page(client.get("/").text)
    assert [field["id"] for field in page.all("input")] == list(FEATURES)
    assert [label["for"] for label in page.all("label")] == list(FEATURES)
    assert [head["id"] for head in page.all("th")] == list(SPECIES)
    assert [meter["aria-labelledby"] for meter in page.all("meter")] == list(SPECIES)
    assert page.all("html")[0]["lang"] == "en"
    row = [float(field["value"] or "") for field in page.all("input")]
    assert client.post("/predict", json={"features": [row], "probabilities": True}).status_code == 200


def test_the_page_needs_nothing_but_itself_and_its_policy_allows_no_more(client: Client) -> None:
    answer = client.get("/")
    page = Page(answer.text)
    assert not [1 for _, attributes in page.tags if attributes.keys() & {"src", "style", "onclick", "onsubmit"}]
    assert [link["href"] for link in page.all("a")] == ["openapi.json"]
    assert not page.all("link")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
