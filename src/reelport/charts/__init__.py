"""Charts: values in, SVG text out, for files and for pages; no input or output of its own."""

from reelport.charts.chart_types import (
    Bar,
    BarChart,
    Chart,
    LineChart,
    Number,
    Series,
    StackedShares,
    WorldMap,
    stack_shares,
)
from reelport.charts.drawing import draw_file, draw_inline_bar, draw_sparkline, embed_chart
from reelport.charts.report_chart import ChartPlan, Group, Groups, NoChart, plan_report_chart, read_groups
from reelport.charts.stylesheet import write_page_stylesheet
from reelport.charts.time_axis import count_settled

__all__ = [
    "Bar",
    "BarChart",
    "Chart",
    "ChartPlan",
    "Group",
    "Groups",
    "LineChart",
    "NoChart",
    "Number",
    "Series",
    "StackedShares",
    "WorldMap",
    "count_settled",
    "draw_file",
    "draw_inline_bar",
    "draw_sparkline",
    "embed_chart",
    "plan_report_chart",
    "read_groups",
    "stack_shares",
    "write_page_stylesheet",
]
