{% macro share_cell(feature_kind, cell) -%}
    case
        when {{ feature_kind }} = 'number' and {{ cell }} >= 0
            then 1 + least(9, greatest(0, ({{ cell }} - 1) / 10))
        else {{ cell }}
    end
{%- endmacro %}
