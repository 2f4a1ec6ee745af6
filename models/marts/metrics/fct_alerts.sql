with measurements as (

    select * from {{ ref('int_alert_measurements') }}

),

rules as (

    select * from {{ ref('alert_rules') }}
    where is_enabled

),

-- Too few to judge by neither breaks a rule nor keeps it.
judged as (

    select
        measurements.*,
        rules.severity,
        rules.fires_when,
        rules.threshold,
        case rules.fires_when
            when 'above' then measurements.value > rules.threshold
            else measurements.value < rules.threshold
        end as is_broken
    from measurements
    inner join rules
        on measurements.rule = rules.rule
    where measurements.n >= rules.minimum_n and measurements.value is not null

),

stretches as (

    select
        *,
        max(measured_date) filter (where not is_broken) over (partition by alert_id)
            as last_kept_date,
        row_number() over (partition by alert_id order by measured_date desc) as recency
    from judged

),

open_stretches as (

    select
        *,
        min(measured_date) over (partition by alert_id) as since_date
    from stretches
    where last_kept_date is null or measured_date > last_kept_date

),

final as (

    select
        alert_id,

        rule,
        severity,
        task,
        model_version,
        experiment,
        feature,
        coalesce(task || ' ' || model_version, task, experiment, 'events') || ': ' || finding
        || case fires_when when 'above' then ', more than ' else ', less than ' end
        || threshold || '.' as message,

        value,
        threshold,
        cast(n as bigint) as n_measured,

        since_date,
        measured_date,
        {{ as_of() }} as detected_at

    from open_stretches
    where recency = 1

)

select * from final
