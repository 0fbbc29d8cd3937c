# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Hosts: what the machines have left."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from .library import ENVIRONMENT, RED, YELLOW, board, graph, levels, limited, query, variable

HOST = f'{ENVIRONMENT},instance=~"$instance"'
DISKS = f'fstype!~"tmpfs|ramfs|overlay|squashfs",{HOST}'
FULL = levels((0.8, YELLOW), (0.9, RED))


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        board("modelyard-hosts", "Hosts", "Processor, memory, disk and network of the hosts.")
        .with_variable(variable("instance", "Host", "up", 'job="node"'))
        .with_row(Row("Processor and memory"))
        .with_panel(
            limited(
                graph(
                    "Processor",
                    "Share of all cores' time that is not idle.",
                    "percentunit",
                    query(
                        f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle",{HOST}}}[5m]))',
                        "{{instance}}",
                    ),
                ).max(1),
                FULL,
            )
        )
        .with_panel(
            limited(
                graph(
                    "Memory",
                    "Share of the memory that is in use and could not be given to something else.",
                    "percentunit",
                    query(
                        f"1 - node_memory_MemAvailable_bytes{{{HOST}}} / node_memory_MemTotal_bytes{{{HOST}}}",
                        "{{instance}}",
                    ),
                ).max(1),
                FULL,
            )
        )
        .with_row(Row("Disk and network"))
        .with_panel(
            limited(
                graph(
                    "Disk",
                    "Share of each file system that is taken. The alert DiskFilling looks a day ahead.",
                    "percentunit",
                    query(
                        f"1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}",
                        "{{instance}} {{mountpoint}}",
                    ),
                ).max(1),
                FULL,
            )
        )
        .with_panel(
            graph(
                "Network",
                "Bytes a second over all devices but the loopback one.",
                "Bps",
                query(
                    f'sum by (instance) (rate(node_network_receive_bytes_total{{device!="lo",{HOST}}}[5m]))',
                    "{{instance}} in",
                ),
                query(
                    f'sum by (instance) (rate(node_network_transmit_bytes_total{{device!="lo",{HOST}}}[5m]))',
                    "{{instance}} out",
                ),
            )
        )
    )
