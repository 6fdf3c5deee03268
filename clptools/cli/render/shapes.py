"""What a picture of an incident is drawn with: shapes, patterns, and what they mean.

All is shown by shape, pattern and number; colour only doubles it.
"""

from __future__ import annotations

from clptools.cli.render.incident import GONE
from clptools.cli.render.marks import Kind

SHAPES = {
    Kind.TRAP: '<path d="M0-8 8 6-8 6z"/>',
    Kind.BEAT: '<circle r="6.5"/>',
    Kind.DECISION: '<path d="M0-8.5 8.5 0 0 8.5-8.5 0z"/>',
    Kind.STOP: '<path d="M-6.5-6.5h13v13h-13z"/>',
    Kind.PROOF: '<path d="M-8 0-4-7H4L8 0 4 7H-4z"/><path class="tick" d="M-3.5 0-1 3 4-3"/>',
    Kind.START: '<path d="M-6-7.5 8 0-6 7.5z"/>',
    Kind.FAILURE: '<path d="M-7-4-4-7 0-3 4-7 7-4 3 0 7 4 4 7 0 3-4 7-7 4-3 0z"/>',
    Kind.PERSON: '<path d="M-7 8C-7-2 7-2 7 8z"/><circle cy="-4" r="3.6"/>',
    Kind.NOTE: '<circle r="4"/>',
}
WORDS = {
    Kind.TRAP: "trap or message",
    Kind.BEAT: "heartbeats begin, end or are late",
    Kind.DECISION: "decision",
    Kind.STOP: "stop",
    Kind.PROOF: "proof that it does not run",
    Kind.START: "start",
    Kind.FAILURE: "failure",
    Kind.PERSON: "what a person did",
    Kind.NOTE: "other",
}
SPAN_WORDS = {
    "heard": "heartbeats are heard",
    "silent": "nothing is heard",
    "off": "off, or left in order",
    "Online": "Online",
    "Online Pending": "starts",
    "Offline Pending": "stops",
    "Offline": "Offline",
    "Offline Failure": "could not be stopped",
    "Waits": "waits",
    GONE: "its server is not heard",
}
FILLS = {
    "Online": "online",
    "Online Pending": "starts",
    "Offline Pending": "stops",
    "Offline Failure": "stuck",
    "Waits": "waits",
    GONE: "waits",
}

STYLE = """
svg.clp{font:11px system-ui,"DejaVu Sans",Arial,sans-serif;fill:#111;background:#fff}
.clp .lane{stroke:#bbb;fill:none}
.clp .name{font-weight:600}
.clp .small{font-size:9.5px;fill:#333}
.clp .head{font-size:15px;font-weight:600}
.clp .drop{stroke:#999;stroke-dasharray:1 3;fill:none}
.clp .INFO{fill:#fff;stroke:#1d4e89;stroke-width:1.6}
.clp .WARN{fill:#f0c36d;stroke:#7a4a00;stroke-width:1.6}
.clp .ERROR{fill:#b00020;stroke:#5c0010;stroke-width:1.6}
.clp .tick{fill:none}
.clp .ERROR .tick{stroke:#fff}
.clp .silent{stroke:#555;stroke-dasharray:5 5;fill:none}
.clp .off{fill:url(#clp-off);stroke:#444}
.clp .heard{fill:url(#clp-beats)}
.clp .online{fill:#dcebdd;stroke:#222}
.clp .starts{fill:url(#clp-starts);stroke:#222}
.clp .stops{fill:url(#clp-stops);stroke:#222}
.clp .stuck{fill:url(#clp-stuck);stroke:#222}
.clp .waits{fill:#fff;stroke:#222;stroke-dasharray:3 3}
.clp .halo{stroke:#fff;stroke-width:3;paint-order:stroke;stroke-linejoin:round}
"""
DEFINITIONS = """<defs>
<pattern id="clp-beats" width="6" height="2" patternUnits="userSpaceOnUse">\
<path d="M1 0v2" stroke="#1d4e89" stroke-width="1.4"/></pattern>
<pattern id="clp-off" width="6" height="6" patternUnits="userSpaceOnUse">\
<path d="M0 0h6v6h-6z" fill="#fff"/><path d="M0 0 6 6M6 0 0 6" stroke="#777"/></pattern>
<pattern id="clp-starts" width="6" height="6" patternUnits="userSpaceOnUse">\
<path d="M0 0h6v6h-6z" fill="#fff"/><path d="M-1 7 7-1" stroke="#2c7a3a" stroke-width="1.4"/>\
</pattern>
<pattern id="clp-stops" width="6" height="6" patternUnits="userSpaceOnUse">\
<path d="M0 0h6v6h-6z" fill="#fff"/><path d="M-1-1 7 7" stroke="#7a4a00" stroke-width="1.4"/>\
</pattern>
<pattern id="clp-stuck" width="6" height="6" patternUnits="userSpaceOnUse">\
<path d="M0 0h6v6h-6z" fill="#fff"/><path d="M0 0 6 6M6 0 0 6" stroke="#b00020"/></pattern>
</defs>"""

LEGEND_SPANS = (
    ("heard", "heartbeats are heard"),
    ("silent", "nothing is heard"),
    ("off", "off, or left"),
    ("online", "group is Online"),
    ("starts", "starts"),
    ("stops", "stops"),
    ("stuck", "could not be stopped"),
    ("waits", "waits, or its server is silent"),
)
SCALE = (
    "Hollow shapes are INFO, light ones WARN, dark ones ERROR. Numbers are those of the sentences "
    "below. The wider the gap, the longer the time, by its logarithm."
)


def level_of(level: str) -> str:
    return level if level in ("WARN", "ERROR") else "INFO"


def shape(kind: Kind, level: str) -> str:
    """A shape by itself, for a legend or a table."""
    return (
        f'<svg class="clp" width="20" height="20" viewBox="-10 -10 20 20" role="img">'
        f"<title>{WORDS[kind]}, {level_of(level)}</title>"
        f'<g class="{level_of(level)}">{SHAPES[kind]}</g></svg>'
    )


def swatch(name: str) -> str:
    """A piece of a span, for a legend."""
    if name == "silent":
        return '<path class="silent" d="M-10 0H10"/>'
    return f'<rect class="{name}" x="-10" y="-6" width="20" height="12"/>'
