{% macro registry_check_arms(where, experiment) %}
    {%- set arms = experiment.get('arms') -%}
    {%- if arms is not mapping or arms | length < 2 -%}
        {%- do registry_error(where ~ ".arms", arms, "a map of two arms or more") -%}
    {%- endif -%}
    {%- do registry_check_choice(
        where ~ ".control_arm", experiment.get('control_arm'), arms | list
    ) -%}
    {%- set total = namespace(share=0) -%}
    {%- for arm, fields in arms.items() -%}
        {%- set at = where ~ ".arms." ~ arm -%}
        {%- do registry_check_name(where ~ ".arms", arm) -%}
        {#- Of somebody in several experiments the slice `arm` names all, joined by it. -#}
        {%- if '+' in arm -%}
            {%- do registry_error(where ~ ".arms", arm, "a name without a plus sign") -%}
        {%- endif -%}
        {%- do registry_check_fields(at, fields, ['share', 'offer_amount']) -%}
        {%- do registry_check_number(at ~ ".share", fields.get('share'), 0, 1) -%}
        {%- do registry_check_number(
            at ~ ".offer_amount", fields.get('offer_amount', 0), 0, none
        ) -%}
        {%- if arm == experiment.control_arm and fields.get('offer_amount', 0) > 0 -%}
            {%- do registry_error(
                at ~ ".offer_amount", fields.offer_amount, "0, what the control arm is offered"
            ) -%}
        {%- endif -%}
        {%- set total.share = total.share + fields.share -%}
    {%- endfor -%}
    {#- Thirds are written with as many digits as one likes. -#}
    {%- if (total.share - 1) | abs > 0.001 -%}
        {%- do registry_error(
            where ~ ".arms", total.share | round(6), "1, what all shares make together"
        ) -%}
    {%- endif -%}
{% endmacro %}
