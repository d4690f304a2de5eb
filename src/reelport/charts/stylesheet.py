"""Styles of charts: in a page's colours, light and dark, or in fixed ones for a file."""

from __future__ import annotations

from typing import NamedTuple


class _Colour(NamedTuple):
    follows: str | None
    light: str
    dark: str


# Lines: the hues of Okabe and Ito, which the colour-blind tell apart; as dark or light as 3:1 against the paper needs.
_COLOURS = {
    "ink": _Colour("ink", "#1f2937", "#e5e7eb"),
    "soft": _Colour("soft", "#4b5563", "#a3abb8"),
    "grid": _Colour("line", "#e5e7eb", "#333b47"),
    "base": _Colour(None, "#8b93a1", "#6b7482"),
    "earlier": _Colour(None, "#6b7280", "#9aa3b1"),
    "paper": _Colour("ground", "#ffffff", "#12161d"),
    "land": _Colour(None, "#e4e7ec", "#2a313c"),
    "m0": _Colour(None, "#b9d0f5", "#24406f"),
    "m1": _Colour(None, "#8fb1ec", "#32599b"),
    "m2": _Colour(None, "#6089de", "#4a76c4"),
    "m3": _Colour(None, "#3763c9", "#6f9bea"),
    "m4": _Colour(None, "#1d3f94", "#b3cdff"),
    "s0": _Colour("accent", "#0072b2", "#56b4e9"),
    "s1": _Colour(None, "#d55e00", "#f08a3c"),
    "s2": _Colour(None, "#00845f", "#2fbf96"),
    "s3": _Colour(None, "#a8457e", "#e08fbd"),
    "s4": _Colour(None, "#8a6500", "#e6b422"),
    "s5": _Colour(None, "#6b7280", "#9aa3b1"),
}

_DASHES = {"s0": "none", "s1": "8 3", "s2": "2 3", "s3": "10 3 2 3", "s4": "5 2", "s5": "12 4"}
FONTS = "DejaVu Sans, Liberation Sans, Arial, Noto Sans, Noto Color Emoji, sans-serif"

_RULES = """\
.chart-picture{font-size:12px}
.chart-name,.chart-heading{fill:{ink}}
.chart-tick,.chart-note{fill:{soft}}
.chart-heading{font-size:18px;font-weight:bold}
.chart-grid{fill:none;stroke:{grid}}
.chart-base{fill:none;stroke:{base}}
.chart-line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}
{looks}.chart-fine{stroke-width:1.25}
circle.chart-line{fill:currentColor;stroke:none}
.chart-earlier{color:{earlier};stroke-width:1.5;stroke-dasharray:4 3}
.chart-moving-area{fill:{grid};fill-opacity:0.35}
.chart-hatch{fill:none;stroke:{base};stroke-opacity:0.7;stroke-width:1}
.chart-bar{fill:{s0}}
.chart-area{fill:{s0};fill-opacity:0.1}
.chart-plot{fill:none}
.chart-share{fill:currentColor}
.chart-key{fill:none;stroke:currentColor;stroke-width:9;stroke-dasharray:none}
.chart-land{fill:{land};stroke:{paper};stroke-width:0.5}
.chart-m0{fill:{m0}}.chart-m1{fill:{m1}}.chart-m2{fill:{m2}}.chart-m3{fill:{m3}}.chart-m4{fill:{m4}}
"""

_PAGE_RULES = """\
.chart{margin:0;container-type:inline-size}
.chart figcaption{color:var(--chart-soft);font-size:0.875rem}
.chart-picture{display:block;width:100%;max-width:67rem;height:auto;overflow:visible;font-variant-numeric:tabular-nums}
.chart-medium,.chart-wide{display:none}
@container (min-width:434px){.chart-narrow{display:none}.chart-medium{display:block}}
@container (min-width:662px){.chart-medium{display:none}.chart-wide{display:block}}
.chart-map{max-width:60rem;margin-inline:auto}
.chart-map .chart-land{vector-effect:non-scaling-stroke}
.chart-map .chart-land[data-says]:hover{stroke:var(--chart-ink);stroke-width:1.5}
.chart-legend{display:block;max-width:100%;font-size:12px;margin-top:.5rem;font-variant-numeric:tabular-nums}
.chart-spark{display:block;width:100%;height:2.25rem}
.chart-spark path{vector-effect:non-scaling-stroke;stroke-linecap:round}
.chart-spark .chart-spark-end{stroke-width:6}
.chart-pictures{position:relative}
.chart-says{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.chart-layer{position:absolute;inset:0;touch-action:pan-y;user-select:none;-webkit-user-select:none}
.chart-layer.chart-ranging{cursor:ew-resize}
.chart-tip small{color:var(--chart-soft)}
.chart-layer>*,.chart-tip{position:absolute;pointer-events:none}
.chart-hair{width:1px;background:var(--chart-soft)}
.chart-band{background:var(--chart-s0);opacity:.16}
.chart-dot{width:9px;height:9px;margin:-4.5px 0 0 -4px;border-radius:50%;background:currentColor}
.chart-dot{box-shadow:0 0 0 2px var(--chart-paper)}
.chart-tip{z-index:1;max-width:100%;padding:.4rem .6rem;border:1px solid var(--chart-base);border-radius:6px}
.chart-tip{background:var(--chart-paper);color:var(--chart-ink);font-size:.8125rem;line-height:1.35}
.chart-tip p{margin:0;color:var(--chart-soft);white-space:nowrap}
.chart-tip div{display:flex;gap:.5rem;align-items:center}
.chart-tip{font-variant-numeric:tabular-nums}
.chart-tip div b{margin-inline-start:auto;padding-inline-start:.5rem;white-space:nowrap}
.chart-tip b{font-weight:600}
.chart-range{display:flex;flex-wrap:wrap;gap:.5rem}
.chart-range button{min-height:44px}
.chart-tip bdi{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.chart-swatch{flex:none;width:.9rem;border-top:2px solid currentColor}
.chart-swatch.chart-earlier{border-top-style:dashed}
.chart-inline-bar{width:100%;height:0.5rem;display:block}
@media (forced-colors:active){.chart-line,.chart-grid,.chart-base{stroke:CanvasText}.chart-bar{fill:CanvasText}}
"""


def write_page_stylesheet() -> str:
    """Write the styles of charts in a page, in its own colours or the reader's light or dark."""
    properties = {name: f"var(--chart-{name})" for name in _COLOURS}
    where = ".chart-picture,.chart-inline-bar,.chart-spark,.chart"
    light = dark = ""
    for name, (follows, by_day, by_night) in _COLOURS.items():
        light += f"--chart-{name}:{f'var(--{follows},{by_day})' if follows else by_day};"
        dark += f"--chart-{name}:{f'var(--{follows},{by_night})' if follows else by_night};"
    schemes = f"{where}{{{light}}}\n@media (prefers-color-scheme:dark){{{where}{{{dark}}}}}\n"
    return schemes + _write_rules(properties) + _PAGE_RULES


def write_file_stylesheet() -> str:
    """Write the styles of a chart in a file: on white, in fonts that most machines have."""
    rules = _write_rules({name: colour.light for name, colour in _COLOURS.items()})
    return f"svg{{font-family:{FONTS}}}\n.chart-paper{{fill:#fff}}\n{rules}"


def _write_rules(values: dict[str, str]) -> str:
    looks = (f".chart-{name}{{color:{values[name]};stroke-dasharray:{dash}}}\n" for name, dash in _DASHES.items())
    rules = _RULES.replace("{looks}", "".join(looks))
    for name, value in values.items():
        rules = rules.replace(f"{{{name}}}", value)
    return rules
