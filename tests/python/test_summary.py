"""What the terminal says of experiments, read from marts that are made up here."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from helpers import execute
from rich.console import Console

from python_scoring import summary, warehouse
from python_scoring.settings import Settings

# The columns that are read.
MARTS = """
create schema leadlight_metrics;
create table leadlight_metrics.fct_coupon_uplift (
    experiment text, arm text, control_arm text, slice_name text, metric text,
    decision text, decision_reason text, is_trustworthy boolean, untrustworthy_because text,
    n_mature bigint, control_n_mature bigint, n_pending bigint, control_n_pending bigint,
    mean double precision, control_mean double precision, difference double precision,
    difference_lower double precision, difference_upper double precision
);
create table leadlight_metrics.fct_coupon_money (
    experiment text, arm text,
    net_money double precision, net_money_lower double precision, net_money_upper double precision
);
insert into leadlight_metrics.fct_coupon_uplift values
    (
        'good', 'coupon', 'control', 'all', 'conversion', 'coupon works', 'it is [worth] it', true,
        null, 4000, 1000, 20, 5, 0.15, 0.125, 0.025, 0.01, 0.04
    ),
    (
        'good', 'coupon', 'control', 'all', 'revenue', 'coupon works', 'it is [worth] it', true,
        null, 4000, 1000, 20, 5, 9, 7, 2, 1, 3
    ),
    (
        'good', 'coupon', 'control', 'country', 'conversion', 'futile', 'never mind', true,
        null, 40, 10, 0, 0, 0.5, 0.25, 0.25, 0, 0.5
    ),
    (
        'odd', 'coupon', 'control', 'all', 'conversion', 'keep waiting', 'who knows', false,
        'sample_ratio: drawn too [unevenly]', 1, 1, 0, 0, 1, 0, 1, null, null
    ),
    (
        'young', 'coupon', 'control', 'all', 'conversion', 'keep waiting', 'too few', true,
        null, 0, 0, 50, 10, null, null, null, null, null
    );
insert into leadlight_metrics.fct_coupon_money values
    ('good', 'coupon', 1234.5, -20, 2489), ('odd', 'coupon', 5, null, null),
    ('young', 'coupon', null, null, null);
"""


@pytest.fixture(scope="module")
def said(make_database: Callable[[str], Settings]) -> dict[str, str]:
    """What is said of each experiment, in one line each."""
    settings = make_database("summary")
    execute(settings, MARTS)
    output = io.StringIO()
    with warehouse.connect(settings) as connection:
        summary._print_uplift(Console(file=output, width=80), connection, settings)
    paragraphs = output.getvalue().strip().split("\n\n")
    return {text.split()[0]: " ".join(text.split()) for text in paragraphs}


def test_a_good_experiment_is_told_with_intervals_and_a_decision(said: dict[str, str]) -> None:
    assert said["good"] == (
        "good coupon against control: 4,000 and 1,000 leads with a known outcome, 25 pending "
        "conversion 15.00% against 12.50%: +2.50 points [+1.00, +4.00] "
        "net money so far because of it: +1,234 [-20, +2,489] "
        "coupon works: it is [worth] it"
    )


def test_what_cannot_be_trusted_is_told_first_and_loudly(said: dict[str, str]) -> None:
    text = said["odd"]
    loud = "NOT TO BE TRUSTED sample_ratio: drawn too [unevenly]"
    assert loud in text
    assert text.index(loud) < text.index("conversion 100.00% against 0.00%")
    assert "+100.00 points [unknown]" in text
    assert "net money so far because of it: +5 [unknown]" in text


def test_without_an_outcome_there_is_no_comparison(said: dict[str, str]) -> None:
    assert said["young"] == (
        "young coupon against control: 0 and 0 leads with a known outcome, 60 pending "
        "no comparison yet: an arm has no lead with a known outcome"
    )
    assert len(said) == 3
