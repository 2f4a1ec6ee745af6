"""What a person wants to see on the terminal, read from the marts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import namedtuple_row
from rich.console import Console
from rich.markup import escape

from python_scoring.settings import Settings
from python_scoring.status import (
    make_table,
    metrics_in_words,
    print_alerts,
    print_intake,
    read_alerts,
    read_intake,
)
from python_scoring.tasks import read_experiments

if TYPE_CHECKING:
    from python_scoring.planning import Plan


def print_summary(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print what came in, how good each champion is, and what the coupons did."""
    print_intake(console, read_intake(connection, settings))
    for model in _rows(
        connection,
        f"select * from {settings.relation('shared', 'dim_model_versions')} "
        "where status = 'champion' order by task",
    ):
        _print_champion(console, connection, settings, model)
    _print_uplift(console, connection, settings)
    console.print()
    print_alerts(console, read_alerts(connection, settings))
    console.print("\n[bold]Where to go from here[/bold]")
    for purpose, command in (
        ("SQL", ".venv/bin/leadlight db psql"),
        ("docs site", "make docs"),
        ("how it stands", ".venv/bin/leadlight status"),
        ("stop the server", ".venv/bin/leadlight db stop"),
    ):
        console.print(f"  {purpose:<16}{command}", soft_wrap=True)


def _print_champion(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print what a champion won by, and what the marts know of it."""
    n_trials = _rows(
        connection,
        "select count(*) as n from scoring.training_trials where task = %s and model_version = %s",
        [model.task, model.model_version],
    )[0].n
    console.print(
        f"\n[bold]{model.task}[/bold]  champion {model.model_version}: "
        f"{model.algorithm.replace('_', ' ')}, the best of {n_trials} trials on "
        f"{model.n_training_rows:,} rows",
        soft_wrap=True,
    )
    if model.judged_from is None:
        console.print(f"  {metrics_in_words(model.metrics)}", soft_wrap=True)
        _print_segments(console, connection, settings, model)
        return
    console.print(
        f"  on the {model.n_out_of_time_rows:,} rows since {model.judged_from:%Y-%m-%d}, which it "
        f"had not seen: {metrics_in_words(model.metrics)}",
        soft_wrap=True,
    )
    if model.out_of_time_roc_auc is not None:
        _print_confusion_matrix(console, connection, settings, model)


def _print_confusion_matrix(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print calibration error and confusion matrix of a classifier's out-of-time rows."""
    key = [model.task, model.model_version]
    where = (
        "where task = %s and model_version = %s and run_kind = 'backtest' and slice_name = 'all'"
    )
    calibration_error = _rows(
        connection,
        "select max(expected_calibration_error) as error "
        f"from {settings.relation('metrics', 'fct_classifier_metrics')} {where} "
        "and window_name = 'all_time'",
        key,
    )[0].error
    counts = _rows(
        connection,
        "select sum(n_true_positives)::bigint as tp, sum(n_false_positives)::bigint as fp, "
        "sum(n_true_negatives)::bigint as tn, sum(n_false_negatives)::bigint as fn "
        f"from {settings.relation('metrics', 'fct_confusion_matrix_daily')} {where}",
        key,
    )[0]
    if counts.tp is None:
        return
    console.print(f"  calibration error (ECE) {calibration_error:.4f}")
    table = make_table(None, "", "it did happen", "it did not")
    table.add_row("predicted to happen", f"{counts.tp:,}", f"{counts.fp:,}")
    table.add_row("predicted not to", f"{counts.fn:,}", f"{counts.tn:,}")
    console.print(table)


def _print_segments(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print the segments of a clustering with their names and sizes."""
    table = make_table(None, "segment", "entities", "share")
    for row in _rows(
        connection,
        "select distinct segment, segment_name, n_entities, share "
        f"from {settings.relation('models', 'fct_segment_profiles')} "
        "where task = %s and model_version = %s order by segment",
        [model.task, model.model_version],
    ):
        table.add_row(
            f"{row.segment} {row.segment_name}", f"{row.n_entities:,}", f"{row.share:.0%}"
        )
    console.print(table)


def print_experiments(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print every experiment of the registry, when it runs, and who is in each of its arms."""
    for experiment in read_experiments(connection, settings):
        assigned = {
            row.arm: row
            for row in _rows(
                connection,
                "select arm, count(*) as n, min(assigned_at) as first_at from scoring.assignments "
                "where experiment = %s group by arm",
                [experiment.experiment],
            )
        }
        first_at = min((row.first_at for row in assigned.values()), default=None)
        dates = [
            f"{what} {moment:%Y-%m-%d}"
            for what, moment in (
                ("starts", experiment.starts_at),
                ("ends", experiment.ends_at),
                ("first assigned", first_at),
            )
            if moment is not None
        ]
        console.print(
            f"[bold]{experiment.experiment}[/bold]  {', '.join(dates) or 'nobody assigned yet'}",
            soft_wrap=True,
        )
        table = make_table(None, "arm", "share", "offer", "assigned")
        for arm in experiment.arms:
            row = assigned.get(arm.arm)
            n_assigned = row.n if row else 0
            table.add_row(arm.arm, f"{arm.share:.1%}", f"{arm.offer_amount:g}", f"{n_assigned:,}")
        console.print(table)


def print_plan(console: Console, plan: Plan) -> None:
    """Print how many entities and days an experiment needs, and what that was reckoned from."""
    per_day, ratio = plan.per_day, plan.variance_ratio
    for name, text in (
        ("without", f"{plan.base_rate.value:.2%} convert ({plan.base_rate.source})"),
        ("effect", f"{100 * plan.effect:+g} points, found in {plan.power:.0%} of cases"),
        ("alpha", f"{plan.alpha:g}, two-sided, of each arm by itself"),
        ("eligible", f"{per_day.value:,.1f} a day ({per_day.source})" if per_day else "unknown"),
        (
            "CUPED",
            f"{ratio.source} makes the variance {ratio.value:.3f} times smaller"
            if ratio
            else "unknown what it would save: no estimate of the experiment yet",
        ),
    ):
        console.print(f"  {name:<10}{text}", soft_wrap=True, markup=False)
    savings = {"entities": 1.0} | ({"with CUPED": ratio.value} if ratio else {})
    table = make_table(None, "arm", "share", "offer", *savings)
    for arm in plan.experiment.arms:
        numbers = (f"{plan.n_in_arm(arm, value):,}" for value in savings.values())
        table.add_row(arm.arm, f"{arm.share:.1%}", f"{arm.offer_amount:g}", *numbers)
    days = [plan.n_days(value) for value in savings.values()]
    table.add_row(
        "days", "", "", *("unknown" if number is None else f"{number:,}" for number in days)
    )
    console.print(table)
    console.print(
        f"  and {plan.experiment.horizon_days:g} days more until the last outcome is known",
        soft_wrap=True,
    )


def _print_uplift(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print what each paying arm did against its control, with 95 % intervals, and what to do."""
    for row in _rows(
        connection,
        "select uplift.*, net_money, net_money_lower, net_money_upper "
        f"from {settings.relation('metrics', 'fct_coupon_uplift')} as uplift "
        f"left join {settings.relation('metrics', 'fct_coupon_money')} as money "
        "using (experiment, arm) where slice_name = 'all' and metric = 'conversion' "
        "order by experiment, arm",
    ):
        console.print(
            f"\n[bold]{row.experiment}[/bold]  {row.arm} against {row.control_arm}: "
            f"{row.n_mature:,} and {row.control_n_mature:,} leads with a known outcome, "
            f"{row.n_pending + row.control_n_pending:,} pending",
            soft_wrap=True,
        )
        if not row.is_trustworthy:
            console.print(
                f"  [bold red]NOT TO BE TRUSTED[/]  {escape(row.untrustworthy_because)}",
                soft_wrap=True,
            )
        if row.difference is None:
            console.print("  no comparison yet: an arm has no lead with a known outcome")
            continue
        interval = _interval(row.difference_lower, row.difference_upper, 100, "+.2f")
        console.print(
            f"  conversion {row.mean:.2%} against {row.control_mean:.2%}: "
            f"{100 * row.difference:+.2f} points {interval}",
            soft_wrap=True,
            markup=False,
        )
        if row.net_money is not None:
            interval = _interval(row.net_money_lower, row.net_money_upper, 1, "+,.0f")
            console.print(
                f"  net money so far because of it: {row.net_money:+,.0f} {interval}",
                soft_wrap=True,
                markup=False,
            )
        console.print(
            f"  {row.decision}: {row.decision_reason}",
            soft_wrap=True,
            markup=False,
        )


def _interval(lower: float | None, upper: float | None, factor: float, form: str) -> str:
    """Return an interval in brackets, in words where it is unknown."""
    if lower is None or upper is None:
        return "[unknown]"
    return f"[{factor * lower:{form}}, {factor * upper:{form}}]"


def _rows(connection: psycopg.Connection, query: str, parameters: list | None = None) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
