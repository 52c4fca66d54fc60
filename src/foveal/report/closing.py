"""How every page ends: the configuration, what it was made on, and when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from foveal.report.page import Html, details, element
from foveal.results import machine, now, versions


def provenance(config: Mapping[str, Any], *more: Html) -> Html:
    """Closed sections with the configuration and with what the page was made on."""
    return element(
        "section",
        details("Configuration", pre(config)),
        more,
        details("Machine and versions", pre({"machine": machine(), "versions": versions()})),
        class_="provenance",
    )


def pre(content: object) -> Html:
    """Anything JSON-able, laid out for people."""
    return element("pre", element("code", json.dumps(content, indent=2, ensure_ascii=False, default=str)), tabindex=0)


def footer() -> Html:
    """When and by what the page was written."""
    return element("footer", f"Written by foveal {versions().get('foveal', '')} on {now()}.")
