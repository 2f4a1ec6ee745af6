{% macro normal_quantile(probability) -%}
    {#- A quotient of two polynomials, eight coefficients each: the first eight for the middle, then
        those for the tails, then those for their ends. -#}
    (
        with quantile_input as materialized (
            select cast({{ probability }} as double precision) as p
        ),

        quantile_distances as materialized (
            select
                p - 0.5 as q,
                sqrt(-ln(least(p, 1 - p))) as r
            from quantile_input
            where p > 0 and p < 1
        ),

        quantile_regions as materialized (
            select
                case when abs(q) <= 0.425 then 0 when r <= 5 then 1 else 2 end as region,
                case when abs(q) <= 0.425 then q else sign(q) end as factor,
                case
                    when abs(q) <= 0.425 then 0.180625 - q * q
                    when r <= 5 then r - 1.6
                    else r - 5
                end as x
            from quantile_distances
        )

        select
            sum(factor * numerator * power(x, mod(i - 1, 8)))
            / sum(denominator * power(x, mod(i - 1, 8)))
        from quantile_regions
        cross join unnest(
            cast('{
                3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427,
                13731.693765509461125, 45921.953931549871457, 67265.770927008700853,
                33430.575583588128105, 2509.0809287301226727,
                1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550,
                3.64784832476320460504, 1.27045825245236838258, 0.241780725177450611770,
                0.0227238449892691845833, 0.000774545014278341407640,
                6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580,
                0.296560571828504891230, 0.0265321895265761230930, 0.00124266094738807843860,
                0.0000271155556874348757815, 0.000000201033439929228813265
            }' as double precision[]),
            cast('{
                1, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
                21213.794301586595867, 39307.895800092710610, 28729.085735721942674,
                5226.4952788528545610,
                1, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
                0.148103976427480074590, 0.0151986665636164571966, 0.000547593808499534494600,
                0.00000000105075007164441684324,
                1, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
                0.000786869131145613259100, 0.0000184631831751005468180,
                0.000000142151175831644588870, 0.00000000000000204426310338993978564
            }' as double precision[])
        ) with ordinality as quantile_coefficients (numerator, denominator, i)
        where (i - 1) / 8 = region
    )
{%- endmacro %}
