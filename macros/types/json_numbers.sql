{% macro json_numbers(column, key) -%}
    {#- What is no array makes the path fail; silent makes that neither true nor false. -#}
    jsonb_array_elements_text(
        case
            when not jsonb_path_exists(
                {{ column }} -> {{ key }},
                'strict $[*] ? (!({{ json_number_condition() }}))',
                silent => true
            )
                then {{ column }} -> {{ key }}
        end
    ) with ordinality
{%- endmacro %}
