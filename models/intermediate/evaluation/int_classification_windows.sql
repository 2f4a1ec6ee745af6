{%- set counts = [
    'n_predictions', 'n_pending', 'n_mature', 'n_positives', 'n_true_positives',
    'n_false_positives', 'n_true_negatives', 'n_false_negatives', 'n_predicted_positives',
] -%}
{%- set sums = [
    'sum_score', 'sum_predicted_positive_score', 'sum_mature_score', 'sum_mature_score_2',
    'sum_mature_score_3', 'sum_mature_score_4', 'sum_positive_score', 'sum_squared_error',
    'sum_log_loss',
] -%}
-- Days are read from the model and not from a CTE, which Postgres would write to disk if it were
-- read twice.
with windows as (

    select * from {{ ref('int_evaluation_windows') }}

),

-- A day is a window too.
days as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        'day' as window_grain,
        'day' as window_name,
        {% for name in counts + sums %}
        {{ name }},
        {% endfor %}
        prediction_date as window_start_date,
        prediction_date as window_end_date,
        change_number
    from {{ ref('int_classification_daily') }}

),

totals as (

    select
        statistics.task,
        statistics.model_version,
        statistics.run_kind,
        statistics.slice_name,
        statistics.slice_value,
        'window' as window_grain,
        windows.window_name,
        {% for name in counts %}
        cast(sum(statistics.{{ name }}) as bigint) as {{ name }},
        {% endfor %}
        {% for name in sums %}
        sum(statistics.{{ name }}) as {{ name }},
        {% endfor %}
        windows.window_start_date,
        windows.window_end_date,
        max(statistics.change_number) as change_number
    from {{ ref('int_classification_daily') }} as statistics
    inner join windows
        on
            statistics.task = windows.task
            and statistics.run_kind = windows.run_kind
            and statistics.prediction_date
            between windows.window_start_date and windows.window_end_date
    group by
        statistics.task,
        statistics.model_version,
        statistics.run_kind,
        statistics.slice_name,
        statistics.slice_value,
        windows.window_name,
        windows.window_start_date,
        windows.window_end_date

),

final as (

    select * from days
    union all
    select * from totals

)

select * from final
