with statistics as (

    select * from {{ ref('int_regression_daily') }}

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        n_predictions,
        n_pending,
        n_mature,
        {{ ratio('sum_actual', 'n_mature') }} as mean_actual,
        {{ ratio('sum_error', 'n_mature') }} as bias,
        {{ ratio('sum_absolute_error', 'n_mature') }} as mean_absolute_error,
        sqrt({{ ratio('sum_squared_error', 'n_mature') }}) as root_mean_squared_error,
        1 - {{ ratio(
            'sum_squared_error',
            '(sum_squared_actual - sum_actual * sum_actual / nullif(n_mature, 0))'
        ) }} as r_squared,

        prediction_date

    from statistics

)

select * from final
