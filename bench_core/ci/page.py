"""The page of a gate: one file of HTML that loads nothing."""

from __future__ import annotations

from bench_core.ci import comment
from bench_core.ci.outcome import Outcome

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1f2328;"
    "background:#fff}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}th,td{border:1px solid #d1d9e0;padding:.3em .7em;"
    "text-align:left}code,pre{font-family:ui-monospace,monospace;background:#f6f8fa}pre{padding:1em;overflow-x:auto}"
    "code{padding:.1em .3em}"
)


def page(found: Outcome) -> str:
    """The page. Nothing in it can run or load anything, even if a text escaped its place."""
    text = comment.whole(found)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>bench-core gate</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n{text}</body></html>\n"
    )
