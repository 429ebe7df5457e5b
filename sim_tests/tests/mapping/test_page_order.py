# SPDX-License-Identifier: Apache-2.0
"""What stands where on the page of a report."""

import re
from dataclasses import replace

import pytest

from mapping.datasets.load import load_data
from mapping.report.machine import estimate
from mapping.report.result import Report
from mapping.report.text import notes
from sim_tests.referees.pages import read_page


@pytest.fixture(scope="module")
def report() -> Report:
    """Return the report of a few samples on two targets."""
    return estimate("digits", load_data("digits").first(4), ["loom", "kuang2021"], core="small")


def test_single_target_is_drawn_first_and_several_are_compared_first(report: Report) -> None:
    alone = replace(report, targets=report.targets[:1], doubt="The data seem to be odd.")
    for shown, order in ((alone, ["doubt", "card", "compared"]), (report, ["compared", "card", "card"])):
        text = shown.to_html()
        assert re.findall(r'(?<=class=")(?:doubt|card|compared)(?=[ "])', text) == order
        assert [said for said in read_page(text).said if said in notes(shown.to_dict())] == notes(
            shown.to_dict()
        )


def test_page_tells_why_the_input_is_scaled_so(report: Report) -> None:
    told = "unit (assumed: without <labels>)"
    for shown, name in ((replace(report, input_told=told), told), (replace(report, input_told=""), "unit")):
        assert shown.to_dict()["input_told"] == name
        assert name in read_page(shown.to_html()).names
