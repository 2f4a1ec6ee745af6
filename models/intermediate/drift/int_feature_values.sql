-- Whatever a features model holds beside its keys, one value a row. What is missing has no row.
with feature_rows as (

    select * from {{ ref('int_feature_rows') }}

),

-- A scalar has no keys, and stands for itself.
entries as (

    select
        feature_rows.features_model,
        feature_rows.entity_id,
        columns.name || coalesce('.' || keys.name, '') as feature,
        coalesce(keys.content, columns.content) as content,
        feature_rows.as_of_at
    from feature_rows
    cross join lateral {{ json_entries('feature_rows.document') }} as columns (name, content)
    left join lateral {{ json_entries('columns.content') }} as keys (name, content) on true
    where columns.name not in ('entity_id', 'user_id', 'as_of_at', 'change_number')

),

scalars as (

    select
        features_model,
        entity_id,
        feature,

        {{ json_kind('content') }} as value_kind,
        {{ json_scalar_text('content') }} as value_text,
        case {{ json_kind('content') }}
            when 'boolean' then cast(cast(content as boolean) as integer)
            else {{ json_scalar_number('content') }}
        end as value_number,

        as_of_at

    from entries
    where {{ json_kind('content') }} in ('string', 'number', 'boolean')

),

final as (

    select
        features_model,
        entity_id,
        feature,

        value_text,
        value_number,

        as_of_at,
        {{ reporting_date('as_of_at') }} as feature_date

    from scalars
    -- As in training, a number beyond single precision is missing.
    where value_kind != 'number' or abs(value_number) < 3.4e38

)

select * from final
