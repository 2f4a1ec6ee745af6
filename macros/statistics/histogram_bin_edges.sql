{% macro histogram_bin_edges() -%}
    {#- In hundred-thousandths, from where to where and how wide: the rarer what is predicted, the
        nearer to 0 the scores lie, and the finer the bins have to be; above a half, mirrored. -#}
    {%- set widths = [
        (0, 200, 2), (200, 1000, 10), (1000, 2000, 25), (2000, 10000, 50),
        (10000, 90000, 250),
        (90000, 98000, 50), (98000, 99000, 25), (99000, 99800, 10), (99800, 100001, 2),
    ] -%}
    {%- set edges = [] -%}
    {%- for first, last, width in widths -%}
        {%- for edge in range(first, last, width) -%}
            {%- do edges.append('%.5g' % (edge / 100000)) -%}
        {%- endfor -%}
    {%- endfor -%}
    cast('{ {{- edges | join(",") -}} }' as double precision[])
{%- endmacro %}
