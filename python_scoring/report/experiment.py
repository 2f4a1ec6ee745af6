"""The section of an experiment: what the offers of one arm did, and what that was worth."""

from __future__ import annotations

from collections.abc import Sequence

from python_scoring.report import charts, words
from python_scoring.report.figures import Column, Figure, Group, Section, Stat, Table, figure
from python_scoring.report.marts import Marts, Row

NOBODY = (
    "Nobody in one of the arms has a known outcome yet. It is known a horizon after the "
    "assignment; `leadlight run` looks for it."
)
TONES = {"coupon works": "good", "coupon hurts": "bad", "futile": "muted", "keep waiting": "wait"}
UNITS = {
    "conversion": (words.points, "conversion, points of share", "+%"),
    "net_money": (words.gain, "net money per entity, in money", "+f"),
}
ESTIMATORS = {"plain": "as it is", "post_stratified": "within tenths of the score"}
_ENDS = (("value", ""), ("lower", "_lower"), ("upper", "_upper"))
RANKINGS = {"highest_first": "highest scores first", "lowest_first": "lowest scores first"}


def sections(marts: Marts, task: str | None) -> list[Section]:
    """Return a section for each paying arm of each experiment, of one task or of all."""
    return [
        _section(marts, experiment, arm["arm"], n_arms=len(arms))
        for experiment in marts.rows("shared", "dim_experiments", "experiment")
        if task is None or experiment["task"] == task
        for arms in [
            marts.rows(
                "shared",
                "dim_experiment_arms",
                "arm_number",
                experiment=experiment["experiment"],
                is_control=False,
            )
        ]
        for arm in arms
    ]


def anchor(experiment: str, arm: str) -> str:
    """Return where an experiment's arm stands in the page."""
    return f"experiment-{experiment}-{arm}"


def _section(marts: Marts, experiment: Row, arm: str, *, n_arms: int) -> Section:
    key = {"experiment": experiment["experiment"], "arm": arm}
    overall = {
        row["metric"]: row
        for row in marts.rows("metrics", "fct_coupon_uplift", "metric", **key, slice_name="all")
    }
    money = marts.rows("metrics", "fct_coupon_money", "arm", **key)
    name = words.title(experiment["experiment"]) + (f": {arm}" if n_arms > 1 else "")
    arms = marts.rows(
        "shared", "dim_experiment_arms", "arm_number", experiment=experiment["experiment"]
    )
    facts = [
        *(
            (row["arm"], f"{words.share(row['share'])}, offer {row['offer_amount']:g}")
            for row in arms
        ),
        ("driven by", experiment["task"] or "somebody else's assignments"),
        ("outcome", f"{experiment['outcome_event']} within {experiment['horizon_days']:g} days"),
        ("margin", words.share(experiment["margin"])),
    ]
    for what in ("starts_at", "ends_at"):
        if experiment[what]:
            facts.append((words.plain(what).removesuffix(" at"), words.day(experiment[what])))
    conversion = overall.get("conversion")
    if conversion is None:
        return Section(
            anchor=anchor(**key),
            title=name,
            kicker=experiment["experiment"],
            description=experiment["description"],
            facts=facts,
            empty="Nobody has been assigned yet. `leadlight run` assigns whoever is eligible as it "
            "scores, or `leadlight load assignments` brings what another tool drew.",
        )
    reasons = [f"{conversion['decision_reason'][:1].upper()}{conversion['decision_reason'][1:]}."]
    if not conversion["is_trustworthy"]:
        reasons.insert(0, f"Not to be trusted: {conversion['untrustworthy_because']}.")
    return Section(
        anchor=anchor(**key),
        title=name,
        kicker=experiment["experiment"],
        description=experiment["description"],
        shown=(
            f"Shown: {arm} against {conversion['control_arm']}, assigned "
            f"{words.span(conversion['first_assignment_date'], conversion['last_assignment_date'])}"
            f"; {words.count(conversion['n_mature'])} and "
            f"{words.count(conversion['control_n_mature'])} with a known outcome, "
            f"{words.count(conversion['n_pending'])} and "
            f"{words.count(conversion['control_n_pending'])} pending."
        ),
        badge=(conversion["decision"], TONES.get(conversion["decision"], "muted")),
        reasons=reasons,
        facts=facts,
        stats=_stats(conversion, money),
        groups=(
            Group("Did it work?", [_cumulative(marts, key), _estimates(marts, key, "conversion")]),
            Group(
                "Was it worth it?",
                [_money(money), _estimates(marts, key, "net_money"), _targeting(marts, key)],
            ),
            Group(
                "For whom, and when?",
                [_deciles(marts, key), _qini(marts, key), _weeks(marts, key)],
            ),
            Group("Can it be trusted?", [_checks(marts, key, experiment["control_arm"])]),
            Group(
                "What else happened",
                [
                    _compliance(marts, experiment),
                    _guardrails(marts, key),
                    _discontinuity(marts, key),
                ],
            ),
        ),
    )


def _stats(conversion: Row, money: list[Row]) -> list[Stat]:
    stats = [
        Stat("With the offer", words.share(conversion["mean"]), f"n = {conversion['n_mature']:,}"),
        Stat(
            "Without",
            words.share(conversion["control_mean"]),
            f"n = {conversion['control_n_mature']:,}",
        ),
        Stat(
            "Uplift, points",
            words.points(conversion["difference"]),
            words.interval(
                conversion["difference_lower"], conversion["difference_upper"], words.points
            ),
        ),
        Stat("p-value", words.p_value(conversion["p_value"]), "of the plain comparison"),
    ]
    for row in money:
        stats += [
            Stat(
                "Extra conversions",
                words.whole_gain(row["incremental_conversions"]),
                words.interval(
                    row["incremental_conversions_lower"],
                    row["incremental_conversions_upper"],
                    words.whole_gain,
                ),
            ),
            Stat(
                "Redeemed",
                words.count(row["n_redeemed"]),
                f"of {words.count(row['n_offered'])}, worth {words.money(row['sum_redeemed'])}",
            ),
            Stat(
                "Net money so far",
                words.whole_gain(row["net_money"]),
                words.interval(row["net_money_lower"], row["net_money_upper"], words.whole_gain),
            ),
            Stat(
                "Break-even offer",
                words.money(row["break_even_offer"]),
                words.interval(
                    row["break_even_offer_lower"], row["break_even_offer_upper"], words.money
                ),
            ),
        ]
    return stats


def _cumulative(marts: Marts, key: dict[str, str]) -> Figure:
    title = "Uplift in conversion so far"
    rows = [
        row
        for row in marts.rows(
            "metrics",
            "fct_coupon_uplift_daily",
            "assignment_date",
            **key,
            slice_name="all",
            metric="conversion",
            window_name="to_date",
        )
        if row["difference"] is not None
    ]
    # The first days know so little that their intervals would flatten all others.
    later = [row for row in rows[len(rows) // 4 :] if row["always_valid_lower"] is not None]
    pending = marts.query(
        "select assignment_date "
        f"from {marts.relation('metrics', 'fct_coupon_uplift_daily')} where experiment = %s "
        "and arm = %s and slice_name = 'all' and metric = 'conversion' and window_name = 'day' "
        "and n_pending + control_n_pending > 0 order by assignment_date",
        key["experiment"],
        key["arm"],
    )

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "The dark band is the 95 % interval of a single look, the light one holds however "
            "often one looks: once it leaves zero, the offer has an effect.",
            charts.daily(
                rows,
                f"Cumulative uplift of {key['experiment']} {key['arm']}",
                day="assignment_date",
                y=("difference", "conversion against control, in points of share", "+%"),
                bands=[
                    ("always_valid_lower", "always_valid_upper", 0.14),
                    ("difference_lower", "difference_upper", 0.3),
                ],
                pending=[row["assignment_date"] for row in pending],
                lines=(0,),
                domain=(
                    min((row["always_valid_lower"] for row in later), default=-1),
                    max((row["always_valid_upper"] for row in later), default=1),
                ),
                wide=True,
            ),
            Table.of(
                rows,
                Column("assigned up to", "assignment_date", words.day),
                Column("known", "n_mature", words.count),
                Column("in control", "control_n_mature", words.count),
                Column("pending", "n_pending", words.count),
                Column("points", "difference", words.points),
                Column("from", "difference_lower", words.points),
                Column("to", "difference_upper", words.points),
                Column("always valid from", "always_valid_lower", words.points),
                Column("to", "always_valid_upper", words.points),
            ),
        )

    return figure(title, rows, NOBODY, draw, columns=2)


def _estimates(marts: Marts, key: dict[str, str], metric: str) -> Figure:
    form, unit, number_format = UNITS[metric]
    rows = [
        {**row, "name": ESTIMATORS.get(row["estimator"], words.plain(row["estimator"]))}
        for row in marts.rows(
            "metrics",
            "fct_experiment_estimates",
            "array_position(array['plain', 'post_stratified'], estimator) nulls last, estimator",
            **key,
            metric=metric,
        )
    ]
    unknown = sorted({row["unknown_because"] for row in rows if row["unknown_because"]})

    def draw(known: Sequence[Row]) -> Figure:
        return Figure(
            "All estimate the same effect; a narrower line is more information from the same "
            "people, and lines that disagree call for a look at the checks.",
            charts.intervals(
                known,
                f"Estimates of {metric} of {key['experiment']} {key['arm']}",
                name="name",
                keys=("difference", "difference_lower", "difference_upper"),
                x=(f"{unit}, 95 % interval", number_format),
                form=form,
            ),
            Table.of(
                rows,
                Column("estimator", "name"),
                Column("difference", "difference", form),
                Column("from", "difference_lower", form),
                Column("to", "difference_upper", form),
                Column("p", "p_value", words.p_value),
                Column("variance saved, times", "variance_ratio", words.fine),
                Column("unknown because", "unknown_because", words.reason),
            ),
        )

    return figure(
        f"Effect on {words.plain(metric)}, by estimator",
        [row for row in rows if row["difference"] is not None],
        f"The difference is unknown: {', '.join(unknown)}." if unknown else NOBODY,
        draw,
    )


def _money(money: Sequence[Row]) -> Figure:
    title = "From margin to net money"
    known = [row for row in money if row["net_money"] is not None]

    def draw(known: Sequence[Row]) -> Figure:
        (row,) = known
        steps = [
            {
                "name": "extra margin",
                "from": 0,
                "to": row["incremental_margin"],
                "lower": row["incremental_margin_lower"],
                "upper": row["incremental_margin_upper"],
                "tone": charts.ACCENT,
            },
            {
                "name": "coupons",
                "from": row["incremental_margin"],
                "to": row["net_money"],
                "lower": None,
                "upper": None,
                "tone": charts.SECOND,
            },
            {
                "name": "net money",
                "from": 0,
                "to": row["net_money"],
                "lower": row["net_money_lower"],
                "upper": row["net_money_upper"],
                "tone": charts.INK,
            },
        ]
        return Figure(
            "The first bar is the margin that the offers brought, the second what redeemed coupons "
            "took of it, the third what is left; thin lines are 95 % intervals.",
            charts.waterfall(
                steps,
                f"Money of {row['experiment']} {row['arm']}",
                y=("so far, in the unit of amount", "~s"),
            ),
            Table.of(
                [
                    {"what": what, **{k: row[f"{name}{end}"] for k, end in ends}}
                    for what, name, ends in (
                        ("incremental revenue", "incremental_revenue", _ENDS),
                        ("incremental margin", "incremental_margin", _ENDS),
                        ("net money", "net_money", _ENDS),
                    )
                ]
                + [
                    {
                        "what": "coupons redeemed",
                        "value": row["sum_redeemed"],
                        "lower": row["sum_redeemed"],
                        "upper": row["sum_redeemed"],
                    },
                    {
                        "what": "net money per money redeemed",
                        **{k: row[f"return_on_coupon_spend{end}"] for k, end in _ENDS},
                    },
                ],
                Column("money", "what"),
                Column("so far", "value", words.money),
                Column("from", "lower", words.money),
                Column("to", "upper", words.money),
            ),
        )

    return figure(title, known, NOBODY, draw)


def _deciles(marts: Marts, key: dict[str, str]) -> Figure:
    return _uplift_along(
        marts,
        key,
        "score_decile",
        title="Uplift by tenth of the score",
        reading="A tenth whose line stays above zero is moved by the offer; a slope says that the "
        "score can choose whom to offer it.",
        empty="No assignment with a known outcome has a score: only those that a prediction drove "
        "do.",
        x_title="tenth of the score, the lowest first",
    )


def _weeks(marts: Marts, key: dict[str, str]) -> Figure:
    return _uplift_along(
        marts,
        key,
        "assignment_week",
        title="Uplift by week of assignment",
        reading="Lines that sink from week to week are an offer that wears off; single weeks are "
        "few people, so expect them to swing.",
        empty=NOBODY,
        x_title="week that begins on",
    )


def _uplift_along(
    marts: Marts,
    key: dict[str, str],
    slice_name: str,
    *,
    title: str,
    reading: str,
    empty: str,
    x_title: str,
) -> Figure:
    rows = marts.rows(
        "metrics",
        "fct_coupon_uplift",
        "lpad(slice_value, 10, '0')",
        **key,
        slice_name=slice_name,
        metric="conversion",
    )

    def draw(known: Sequence[Row]) -> Figure:
        return Figure(
            reading,
            charts.upright_intervals(
                known,
                f"{title}: {key['experiment']} {key['arm']}",
                name=("slice_value", x_title),
                keys=("difference", "difference_lower", "difference_upper"),
                y=("conversion against control, 95 % interval", "+%"),
            ),
            Table.of(
                rows,
                Column(words.plain(slice_name), "slice_value"),
                Column("known", "n_mature", words.count),
                Column("in control", "control_n_mature", words.count),
                Column("pending", "n_pending", words.count),
                Column("with offer", "mean", words.share),
                Column("without", "control_mean", words.share),
                Column("points", "difference", words.points),
                Column("from", "difference_lower", words.points),
                Column("to", "difference_upper", words.points),
                Column("p, Holm", "p_value_holm", words.p_value),
            ),
        )

    return figure(title, [row for row in rows if row["difference"] is not None], empty, draw)


def _curve(marts: Marts, key: dict[str, str]) -> list[Row]:
    return [
        {**row, "name": RANKINGS[row["ranking"]]}
        for row in marts.rows("metrics", "fct_uplift_curve", "ranking, place", **key)
    ]


def _qini(marts: Marts, key: dict[str, str]) -> Figure:
    title = "Qini curve"
    rows = [row for row in _curve(marts, key) if row["qini"] is not None]

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Going right, offers go to more people, in the order of the score; the further a line "
            "rises above the dashed one, the better that order finds whom an offer moves.",
            charts.curve(
                rows,
                f"Qini curve of {key['experiment']} {key['arm']}",
                x=("share_targeted", "share targeted", "%"),
                y=("qini", "extra conversions in the arm", "~s"),
                series="name",
                reference=[
                    {"share_targeted": 0, "qini": 0},
                    max(rows, key=lambda row: row["share_targeted"]),
                ],
            ),
            Table.of(
                rows,
                Column("ranking", "name"),
                Column("share targeted", "share_targeted", words.share),
                Column("extra conversions", "qini", words.fine),
                Column("difference", "conversion_difference", words.points),
                Column("from", "conversion_difference_lower", words.points),
                Column("to", "conversion_difference_upper", words.points),
            ),
        )

    return figure(title, rows, NOBODY, draw)


def _targeting(marts: Marts, key: dict[str, str]) -> Figure:
    title = "Money by share targeted"
    targeting = marts.rows("metrics", "fct_targeting", "ranking", **key)
    rankings = sorted(
        (row for row in targeting if row["best_net_per_lead"] is not None),
        key=lambda row: -row["best_net_per_lead"],
    )
    best = rankings[0]["ranking"] if rankings else None
    rows = [
        row
        for row in _curve(marts, key)
        if row["ranking"] == best and row["net_per_lead"] is not None
    ]

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            f"With the {RANKINGS[best]}: the line is what offers to that share of the eligible "
            "earn; its highest point was chosen on the same data, so it flatters.",
            charts.curve(
                rows,
                f"Net money by share targeted of {key['experiment']} {key['arm']}",
                x=("share_targeted", "share targeted", "%"),
                y=("net_per_lead", "net money per eligible entity, 95 % interval", ",~r"),
                band=("net_per_lead_lower", "net_per_lead_upper"),
                marks=[("most money", row) for row in rows if row["is_best"]][:1],
                zero_line=True,
            ),
            Table.of(
                rows,
                Column("share targeted", "share_targeted", words.share),
                Column("threshold", "threshold", words.decimal),
                Column("net per entity", "net_per_lead", words.gain),
                Column("from", "net_per_lead_lower", words.gain),
                Column("to", "net_per_lead_upper", words.gain),
                keep="is_best",
            ),
        )

    return figure(title, rows, NOBODY, draw)


def _checks(marts: Marts, key: dict[str, str], control_arm: str) -> Figure:
    title = "Checks"
    rows = [
        {
            **row,
            "arm": row["arm"] or "all",
            "result": "passed" if row["is_passed"] else "FAILED",
            "check": words.plain(row["check_name"])
            + (f": {row['subject']}" if row["subject"] else ""),
        }
        for row in marts.rows(
            "metrics",
            "fct_experiment_checks",
            "is_passed, check_name, subject nulls first, arm nulls first, check_id",
            experiment=key["experiment"],
        )
        if row["arm"] in (None, key["arm"], control_arm) or not row["is_passed"]
    ]

    def draw(rows: Sequence[Row]) -> Figure:
        n_failed = sum(not row["is_passed"] for row in rows)
        found = "all passed" if not n_failed else f"{n_failed} of {len(rows)} failed"
        return Figure(
            f"What a trustworthy experiment must not show: {found}. One that fails marks every "
            "number of the experiment and hides none.",
            table=Table.of(
                rows,
                Column("result", "result"),
                Column("check", "check"),
                Column("arm", "arm"),
                Column("found", "finding", words.prose),
                Column("value", "value", words.fine),
                Column("limit", "threshold", words.exact),
            ),
        )

    return figure(title, rows, "Too few are assigned to test anything yet.", draw, columns=3)


def _guardrails(marts: Marts, key: dict[str, str]) -> Figure:
    title = "Guardrails"
    rows = [
        {
            **row,
            "name": words.plain(row["event_type"]),
            "harmed": "harmed" if row["is_harmed"] else "no harm shown",
        }
        for row in marts.rows("metrics", "fct_experiment_guardrails", "event_type", **key)
    ]
    known = [row for row in rows if row["difference"] is not None]

    def draw(known: Sequence[Row]) -> Figure:
        return Figure(
            "What must not get worse: a line wholly right of zero is a rise that chance does not "
            "explain, one wholly left of it a fall.",
            charts.intervals(
                known,
                f"Guardrails of {key['experiment']} {key['arm']}",
                name="name",
                keys=("difference", "difference_lower", "difference_upper"),
                x=("points against control, 95 % interval", "+%"),
                form=words.points,
                tone=lambda row: charts.BAD if row["is_harmed"] else charts.ACCENT,
            ),
            Table.of(
                rows,
                Column("event", "name"),
                Column("harm would be a", "harm"),
                Column("result", "harmed"),
                Column("with offer", "event_rate", words.share),
                Column("without", "control_event_rate", words.share),
                Column("points", "difference", words.points),
                Column("from", "difference_lower", words.points),
                Column("to", "difference_upper", words.points),
            ),
        )

    return figure(
        title,
        known,
        "No guardrail has an outcome; the registry names event types under guardrails.",
        draw,
    )


def _compliance(marts: Marts, experiment: Row) -> Figure:
    title = "How far the offer went"
    rows = marts.rows(
        "metrics",
        "fct_coupon_compliance",
        "is_control, arm",
        experiment=experiment["experiment"],
    )
    steps = [
        {"name": f"{row['arm']}: {step}", "rate": row[f"{step}_rate"]}
        for row in rows
        for step in ("offered", "seen", "redeemed")
        if row[f"{step}_rate"] is not None
    ]

    def draw(steps: Sequence[Row]) -> Figure:
        return Figure(
            "Each bar is a share of the arm's entities with a known outcome; any bar of the "
            "control arm is an offer that should not have reached it.",
            charts.bars(
                steps,
                f"Compliance of {experiment['experiment']}",
                name="name",
                value="rate",
                x=("share of the arm", "%"),
                form=words.share,
            ),
            Table.of(
                rows,
                Column("arm", "arm"),
                Column("known", "n_mature", words.count),
                Column("offered", "n_offered", words.count),
                Column("seen", "n_seen", words.count),
                Column("redeemed", "n_redeemed", words.count),
                Column("contaminated", "n_contaminated", words.count),
                Column("effect on those offered", "effect_on_offered", words.points),
                Column("from", "effect_on_offered_lower", words.points),
                Column("to", "effect_on_offered_upper", words.points),
                Column("unknown because", "effect_unknown_because", words.reason),
            ),
        )

    return figure(title, steps, NOBODY, draw)


def _discontinuity(marts: Marts, key: dict[str, str]) -> Figure:
    title = "At the threshold, without a holdout"
    rows = marts.rows("metrics", "fct_discontinuity", "arm", **key)
    known = [row for row in rows if row["difference"] is not None]
    reasons = [row["unknown_because"] for row in rows if row["unknown_because"]]

    def draw(known: Sequence[Row]) -> Figure:
        (row,) = known
        both = [
            {"name": what, **{k: row[f"{name}{end}"] for k, end in _ENDS}}
            for what, name in (
                ("jump at the threshold", "difference"),
                ("the experiment", "experiment_difference"),
            )
        ]
        return Figure(
            "The jump compares people just below and just above the threshold; where its line "
            "holds the experiment's dot, the two agree.",
            charts.intervals(
                [row for row in both if row["value"] is not None],
                f"Discontinuity of {key['experiment']} {key['arm']}",
                name="name",
                keys=("value", "lower", "upper"),
                x=("conversion, points of share, 95 % interval", "+%"),
                form=words.points,
            ),
            Table.of(
                both,
                Column("estimate", "name"),
                Column("points", "value", words.points),
                Column("from", "lower", words.points),
                Column("to", "upper", words.points),
            ),
        )

    why = (
        f"The jump is unknown: {', '.join(reasons)}."
        if reasons
        else "Only an experiment that offers below a threshold has one."
    )
    return figure(title, known, why, draw)
