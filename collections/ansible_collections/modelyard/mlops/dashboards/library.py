# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What all dashboards share, so that each of them says only what it shows."""

from __future__ import annotations

from string import ascii_uppercase

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    QueryVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.heatmap import Panel as Heatmap
from grafana_foundation_sdk.builders.heatmap import YAxisConfig as YAxis
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "modelyard"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")

# The grid is 24 columns wide; a row of these fits a laptop screen together with the one below it.
HEIGHT = 7
STAT_HEIGHT = 4

# On every panel; in an environment without a name, the label is missing and all of its values match.
ENVIRONMENT = 'environment=~"$environment"'

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


def board(uid: str, title: str, description: str) -> Dashboard:
    """Return an empty dashboard with the house's settings, on which each deployment draws a line."""
    deployments = (
        AnnotationQuery()
        .name("Deployments")
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color(BLUE)
        .expr("changes(modelyard_release_since_timestamp_seconds[1m]) > 0")
    )
    others = DashboardLink("Modelyard").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
    return (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .editable()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .annotation(deployments)
        .with_variable(choice("environment", "Environment", "label_values(up, environment)"))
        .link(others.include_vars(False).keep_time(True))
    )


def variable(name: str, label: str, metric: str, *matchers: str) -> QueryVariable:
    """Return a choice of the values that a label has in the chosen environments. Its name is the label's."""
    return choice(name, label, f"label_values({metric}{{{','.join((ENVIRONMENT, *matchers))}}}, {name})")


def choice(name: str, label: str, values: str) -> QueryVariable:
    """Return a choice of values, all of them at first."""
    return (
        QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(values)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def query(expression: str, legend: str = "") -> Dataquery:
    """Return a query over the time range that is shown."""
    return Dataquery().datasource(PROMETHEUS).expr(expression).legend_format(legend or "__auto").range()


def levels(*steps: tuple[float, str], base: str = GREEN) -> ThresholdsConfig:
    """Return the base colour, and another one from each value on."""
    thresholds = [Threshold(value=None, color=base), *(Threshold(value=value, color=color) for value, color in steps)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds)


def number(title: str, description: str, unit: str, expression: str, thresholds: ThresholdsConfig) -> Stat:
    """Return one number, a sixth of the width, with the colour of its level."""
    return (
        Stat()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .thresholds(thresholds)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("-")
        .with_target(query(expression).ref_id("A"))
        .height(STAT_HEIGHT)
        .span(4)
    )


def graph(title: str, description: str, unit: str, *targets: Dataquery) -> Timeseries:
    """Return lines over time, half the width."""
    panel = (
        Timeseries()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .height(HEIGHT)
        .span(12)
    )
    for place, target in enumerate(targets):
        panel = panel.with_target(target.ref_id(ascii_uppercase[place]))
    return panel


def limited(panel: Timeseries, thresholds: ThresholdsConfig) -> Timeseries:
    """Return the graph with its limits drawn as lines."""
    style = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
    return panel.thresholds(thresholds).thresholds_style(style)


def heat(title: str, description: str, unit: str, buckets: str) -> Heatmap:
    """Return a histogram over time, half the width."""
    return (
        Heatmap()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .calculate(False)
        .y_axis(YAxis().unit(unit))
        .with_target(query(buckets, "{{le}}").format(PromQueryFormat.HEATMAP).ref_id("A"))
        .height(HEIGHT)
        .span(12)
    )


def listing(title: str, description: str, expression: str, columns: dict[str, str]) -> Table:
    """Return what the labels of an info metric say now, half the width; `columns` names them in their order."""
    instant = Dataquery().datasource(PROMETHEUS).expr(expression).ref_id("A").instant()
    order = {"indexByName": {label: place for place, label in enumerate(columns)}, "renameByName": columns}
    return (
        Table()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit("none")
        .show_header(True)
        .with_target(instant.format(PromQueryFormat.TABLE))
        .with_transformation(
            DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(columns)}})
        )
        .with_transformation(DataTransformerConfig(id_val="organize", options=order))
        .height(HEIGHT)
        .span(12)
    )
