# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""haproxy: the map file and the running process say the same, and the counters are read right."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import (
    HaproxyError,
    Load,
    Route,
    Router,
    Runtime,
    SlotMap,
    open_connections,
)

STATS = """\
# pxname,svname,scur,addr,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,
public,FRONTEND,9,,0,9,0,0,0,0,
app_demo_blue,slot,1,127.0.0.1:18081,0,7,0,1,2,0,
app_demo_blue,BACKEND,1,,0,7,0,1,2,0,

"""


class FakeRuntime(Runtime):
    """Keeps a map as HAProxy does, or refuses to."""

    def __init__(self, deaf: bool = False) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}
        self.deaf = deaf

    def command(self, line: str) -> str:
        verb, what, *rest = line.split()
        if (verb, what) == ("show", "stat"):
            return STATS
        if verb == "show":
            return "".join(f"0x55d0 {app} {slot}\n" for app, slot in self.entries.items())
        if self.deaf:
            return "permission denied\n"
        assert verb != "set" or rest[1] in self.entries, "HAProxy sets only what is there"
        assert verb != "add" or rest[1] not in self.entries, "and adds a second entry beside the first"
        if verb == "del":
            del self.entries[rest[1]]
        else:
            self.entries[rest[1]] = rest[2]
        return ""


@pytest.fixture
def slot_map(tmp_path: Path) -> SlotMap:
    return SlotMap(str(tmp_path / "slots.map"))


def test_point_changes_file_and_process(slot_map: SlotMap) -> None:
    runtime = FakeRuntime()
    router = Router(runtime, slot_map)
    slot_map.write({"other": "green"})
    assert router.route("demo") == Route(None, None)
    for slot in ("blue", "green"):
        router.point("demo", slot)
        assert router.route("demo") == Route(slot, slot)
        assert router.is_pointed("demo", slot)
    assert slot_map.read() == {"demo": "green", "other": "green"}
    router.point("demo", None)
    assert router.route("demo") == Route(None, None)


def test_process_that_does_not_take_it_is_an_error_and_the_file_says_it(slot_map: SlotMap) -> None:
    with pytest.raises(HaproxyError, match="did not take slot blue for demo: permission denied"):
        Router(FakeRuntime(deaf=True), slot_map).point("demo", "blue")
    assert slot_map.read() == {"demo": "blue"}


def test_load_and_address_are_those_of_the_slot(slot_map: SlotMap) -> None:
    router = Router(FakeRuntime(), slot_map)
    assert router.load("demo", "blue") == Load(requests=10, errors=2, sessions=1)
    assert router.address("demo", "blue") == "127.0.0.1:18081"
    with pytest.raises(HaproxyError, match="no backend app_demo_green: name demo in ingress_apps"):
        router.load("demo", "green")


def test_dead_haproxy_is_named(tmp_path: Path) -> None:
    with pytest.raises(HaproxyError, match=r"does not answer at .*admin\.sock"):
        Runtime(str(tmp_path / "admin.sock")).command("show info")


def test_only_established_connections_to_the_port_count(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:46A1 00000000:0000 0A\n"
        "   1: 0100007F:C350 0100007F:46A1 01\n"
        "   2: 0100007F:46A1 0100007F:C350 01\n"
        "   3: 0100007F:C351 0100007F:46A1 06\n",
        encoding="ascii",
    )
    assert open_connections(18081, str(table)) == 1
