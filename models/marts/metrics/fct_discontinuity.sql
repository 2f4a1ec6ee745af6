with daily as (

    select * from {{ ref('int_discontinuity_daily') }}

),

comparisons as (

    select * from {{ ref('fct_coupon_uplift') }}
    where slice_name = 'all' and metric = 'conversion'

),

-- Only days on which a version's scores led to offers have two sides.
offer_days as (

    select
        experiment,
        arm,
        model_version,
        prediction_date
    from daily
    where arm is not null and n_mature > 0

),

{% set sums = [
    'n_mature', 'n_converted', 'sum_distance_1', 'sum_distance_2', 'sum_distance_3',
    'sum_distance_4', 'sum_converted_distance_1', 'sum_converted_distance_2',
    'sum_converted_distance_3',
] %}
sides as (

    select
        offer_days.experiment,
        offer_days.arm,
        {% for name in sums %}
        cast(sum(daily.{{ name }}) as double precision) as {{ name }},
        {% endfor %}
        daily.arm is null as is_above
    from offer_days
    inner join daily
        on
            offer_days.experiment = daily.experiment
            and offer_days.model_version = daily.model_version
            and offer_days.prediction_date = daily.prediction_date
            and (daily.arm is null or offer_days.arm = daily.arm)
    group by offer_days.experiment, offer_days.arm, daily.arm

),

-- A straight line through each side; its value at the threshold, distance 0.
lines as (

    select
        *,
        nullif(n_mature * sum_distance_2 - power(sum_distance_1, 2), 0) as determinant,
        (sum_distance_2 * n_converted - sum_distance_1 * sum_converted_distance_1)
        / nullif(n_mature * sum_distance_2 - power(sum_distance_1, 2), 0) as rate,
        (n_mature * sum_converted_distance_1 - sum_distance_1 * n_converted)
        / nullif(n_mature * sum_distance_2 - power(sum_distance_1, 2), 0) as slope
    from sides

),

-- Sums of squared residuals, times powers of the distance. A square of 0 or 1 is itself.
residuals as (

    select
        *,
        n_converted - 2 * rate * n_converted - 2 * slope * sum_converted_distance_1
        + rate * rate * n_mature + 2 * rate * slope * sum_distance_1
        + slope * slope * sum_distance_2 as squares_0,
        sum_converted_distance_1 - 2 * rate * sum_converted_distance_1
        - 2 * slope * sum_converted_distance_2
        + rate * rate * sum_distance_1 + 2 * rate * slope * sum_distance_2
        + slope * slope * sum_distance_3 as squares_1,
        sum_converted_distance_2 - 2 * rate * sum_converted_distance_2
        - 2 * slope * sum_converted_distance_3
        + rate * rate * sum_distance_2 + 2 * rate * slope * sum_distance_3
        + slope * slope * sum_distance_4 as squares_2
    from lines

),

-- Whatever the spread at each distance (White 1980), with the small-sample factor n / (n - 2).
variances as (

    select
        *,
        greatest(0, (
            power(sum_distance_2, 2) * squares_0
            - 2 * sum_distance_2 * sum_distance_1 * squares_1
            + power(sum_distance_1, 2) * squares_2
        ) / power(determinant, 2) * n_mature / nullif(n_mature - 2, 0)) as variance
    from residuals

),

-- Where nobody was randomised there is a row as well: its arm has no control.
jumps as (

    select
        comparisons.experiment,
        comparisons.arm,
        comparisons.difference as experiment_difference,
        comparisons.difference_lower as experiment_difference_lower,
        comparisons.difference_upper as experiment_difference_upper,
        comparisons.experiment in (select daily.experiment from daily) as has_threshold,
        coalesce(below.n_mature, 0) as n_below,
        coalesce(above.n_mature, 0) as n_above,
        below.rate as rate_below,
        above.rate as rate_above,
        below.rate - above.rate as difference,
        sqrt(below.variance + above.variance) as standard_error
    from comparisons
    left join variances as below
        on
            comparisons.experiment = below.experiment
            and comparisons.arm = below.arm
            and not below.is_above
    left join variances as above
        on
            comparisons.experiment = above.experiment
            and comparisons.arm = above.arm
            and above.is_above

),

reasons as (

    select
        *,
        case
            when not has_threshold
                then 'its offers do not hang on the threshold of a task with its outcome'
            when least(n_below, n_above) < 50
                then 'fewer than 50 known outcomes on a side of the threshold'
            when difference is null then 'all scores on a side are the same'
        end as unknown_because
    from jumps

),

final as (

    select
        experiment,
        arm,
        unknown_because,

        cast(n_below as bigint) as n_below,
        cast(n_above as bigint) as n_above,
        cast({{ var('discontinuity_bandwidth') }} as double precision) as bandwidth,
        {% for name in ['rate_below', 'rate_above', 'difference', 'standard_error'] %}
        case when unknown_because is null then {{ name }} end as {{ name }},
        {% endfor %}
        case
            when unknown_because is null
                then difference - {{ normal_quantile('0.975') }} * standard_error
        end as difference_lower,
        case
            when unknown_because is null
                then difference + {{ normal_quantile('0.975') }} * standard_error
        end as difference_upper,

        experiment_difference,
        experiment_difference_lower,
        experiment_difference_upper

    from reasons

)

select * from final
