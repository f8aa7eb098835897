"""Dashboard and alert rules name metrics and labels that exist, and every alert is explained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from runtime.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "operations" / "grafana" / "mianjiao.json"
ALERTS = ROOT / "operations" / "prometheus" / "alerts.yml"
KNOWN = {
    sample: {*one.labels, *(("le",) if sample.endswith("_bucket") else ())}
    for one in Metrics().described
    for sample in one.samples
}


def panels() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return loaded


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


def problems(expression: str) -> list[str]:
    """What is wrong with a query: it does not parse, or names what there is not."""
    try:
        promql_parser.parse(expression)
    except ValueError as error:
        return [str(error)]
    found = []
    for name, matchers in re.findall(r"\b(mianjiao_\w+)(?:\{([^}]*)\})?", expression):
        if name not in KNOWN:
            found.append(name)
            continue
        labels = set(re.findall(r"(\w+)\s*[=!]~?=?\s*\"", matchers))
        found += [f"{name}{{{label}}}" for label in sorted(labels - KNOWN[name])]
    return found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_queries_parse_and_name_metrics_that_exist(where: str, expression: str) -> None:
    assert problems(expression) == [], where
    assert "mianjiao_" in expression


def test_a_query_for_something_else_is_seen() -> None:
    assert problems("sum(rate(mianjiao_nothing_total[5m]))") == ["mianjiao_nothing_total"]
    assert problems('mianjiao_missing{place="log"}') == ["mianjiao_missing{place}"]
    assert problems("sum(rate(mianjiao_ready[5m])")


def test_every_metric_stands_on_the_dashboard() -> None:
    shown = " ".join(expression for _, expression in expressions())
    missing = [
        one.name
        for one in Metrics().described
        if not any(re.search(rf"\b{sample}\b", shown) for sample in one.samples)
    ]
    assert missing == []


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_every_alert_is_explained_in_both_languages() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(Mianjiao\w+)` \|", text, re.MULTILINE)
    assert explained == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert re.search(r"[\u4e00-\u9fff].* / [a-z]", rule["annotations"]["summary"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+[ms]", rule["for"])
