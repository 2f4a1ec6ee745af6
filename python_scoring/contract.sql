-- The tables that others write, and the ones the job writes. Idempotent; a build never drops them.

create schema if not exists tracking;
create schema if not exists scoring;

-- Numbers what arrives, over all three landing tables: it tells rows apart whose every other column
-- is alike, and an increment finds by it what arrived since.
create sequence if not exists tracking.delivery_ids;

-- One row per delivered event. Landing is permissive: validity and uniqueness are settled when
-- events are cleaned.
create table if not exists tracking.events (
    delivery_id bigint primary key default nextval('tracking.delivery_ids'),
    event_id text,
    event_type text,
    user_id text,
    session_id text,
    occurred_at timestamptz,
    amount numeric,
    properties jsonb,
    loaded_at timestamptz not null default now()
);

-- Every increment begins by asking for the newest arrivals.
create index if not exists events_loaded_at on tracking.events (loaded_at);

-- One row per load: a file, or a simulation. What stands here is never loaded a second time.
create table if not exists tracking.loads (
    load_id bigint generated always as identity primary key,
    source text not null unique,
    target text not null,
    n_rows bigint not null,
    n_rejected bigint not null,
    loaded_at timestamptz not null default now()
);

-- One row per row of a file that does not fit the contract's columns.
create table if not exists tracking.load_rejects (
    load_id bigint not null references tracking.loads (load_id),
    file text not null,
    line bigint not null,
    reason text not null,
    content text not null
);

-- One row per (task, model_version, run_kind, entity_id, as_of_at). Append-only.
create table if not exists scoring.predictions (
    delivery_id bigint not null unique default nextval('tracking.delivery_ids'),
    prediction_id uuid primary key default gen_random_uuid(),
    task text not null,
    model_version text not null,
    run_kind text not null check (run_kind in ('live', 'backtest')),
    entity_id text not null,
    as_of_at timestamptz not null,
    predicted_at timestamptz not null default now(),
    -- NaN is greater than every other number here, so the range refuses it too.
    score double precision check (score between 0 and 1),
    -- Its square is a number too.
    predicted_value double precision check (predicted_value between -1e100 and 1e100),
    segment integer,
    threshold double precision check (threshold between 0 and 1),
    attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    loaded_at timestamptz not null default now(),
    unique (task, model_version, run_kind, entity_id, as_of_at),
    constraint predictions_fit_one_kind check (
        num_nonnulls(score, predicted_value, segment) = 1
    ),
    constraint predictions_have_threshold_with_score check (
        (score is null) = (threshold is null)
    )
);

create index if not exists predictions_loaded_at on scoring.predictions (loaded_at);

-- One row per (experiment, entity_id): the arm is decided once, when it is written. Append-only.
create table if not exists scoring.assignments (
    delivery_id bigint not null unique default nextval('tracking.delivery_ids'),
    experiment text not null,
    entity_id text not null,
    assigned_at timestamptz not null default now(),
    arm text not null,
    offer_amount numeric not null default 0
    check (offer_amount >= 0 and offer_amount < 'infinity'),
    prediction_id uuid,
    loaded_at timestamptz not null default now(),
    primary key (experiment, entity_id)
);

create index if not exists assignments_loaded_at on scoring.assignments (loaded_at);

-- One row per experiment that the job has assigned somebody for, as it was at the first of them: of
-- each arm its share and its offer_amount. Salt and arms stay while the experiment runs. Append-only.
create table if not exists scoring.experiments (
    experiment text primary key,
    salt text not null,
    arms jsonb not null check (jsonb_typeof(arms) = 'object'),
    begun_at timestamptz not null default now(),
    loaded_at timestamptz not null default now()
);

-- One row per trained version of a task; at most one of them is champion.
create table if not exists scoring.models (
    task text not null,
    model_version text not null,
    status text not null check (status in ('champion', 'challenger', 'retired')),
    algorithm text not null,
    parameters jsonb not null,
    features jsonb not null,
    trained_at timestamptz not null default now(),
    trained_from timestamptz not null,
    trained_through timestamptz not null,
    -- Null for a clustering, which has no labels to be judged by.
    judged_from timestamptz,
    judged_through timestamptz,
    n_training_rows bigint not null,
    n_out_of_time_rows bigint not null,
    metrics jsonb not null,
    reason text not null,
    artifact bytea not null,
    artifact_sha256 text not null,
    primary key (task, model_version)
);

create unique index if not exists models_one_champion
on scoring.models (task) where status = 'champion';

-- One row per candidate that a training tried.
create table if not exists scoring.training_trials (
    task text not null,
    model_version text not null,
    trial integer not null,
    algorithm text not null,
    parameters jsonb not null,
    mean_score double precision not null,
    std_score double precision,
    fit_seconds double precision not null,
    primary key (task, model_version, trial),
    foreign key (task, model_version) references scoring.models (task, model_version)
);

-- One row per run of the job, finished or not.
create table if not exists scoring.runs (
    run_id bigint generated always as identity primary key,
    command text not null,
    status text not null default 'running'
    check (status in ('running', 'succeeded', 'failed', 'abandoned')),
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    details jsonb not null default '{}',
    error text
);

-- What a training tells of its model: how much it relies on each feature, on rows out of time.
create table if not exists scoring.feature_importances (
    task text not null,
    model_version text not null,
    feature text not null,
    mean_importance double precision not null,
    std_importance double precision not null,
    n_sampled bigint not null,
    primary key (task, model_version, feature),
    foreign key (task, model_version) references scoring.models (task, model_version)
);

-- What is predicted on average when a feature has one value in all rows.
create table if not exists scoring.partial_dependence (
    task text not null,
    model_version text not null,
    feature text not null,
    position integer not null,
    number_value double precision,
    text_value text,
    mean_prediction double precision not null,
    n_sampled bigint not null,
    primary key (task, model_version, feature, position),
    foreign key (task, model_version) references scoring.models (task, model_version),
    constraint partial_dependence_has_one_value check (num_nonnulls(number_value, text_value) = 1)
);

-- The ROC and the precision-recall curve of the out-of-time rows, by falling threshold.
create table if not exists scoring.curves (
    task text not null,
    model_version text not null,
    position integer not null,
    threshold double precision not null,
    true_positive_rate double precision not null,
    false_positive_rate double precision not null,
    precision_rate double precision,
    primary key (task, model_version, position),
    foreign key (task, model_version) references scoring.models (task, model_version)
);

-- The segments of a clustering. A number goes on where its segment does, from version to version.
create table if not exists scoring.segments (
    task text not null,
    model_version text not null,
    segment integer not null,
    segment_name text not null,
    n_entities bigint not null,
    primary key (task, model_version, segment),
    foreign key (task, model_version) references scoring.models (task, model_version)
);

-- What each feature is like in each segment; of a text feature, the share of each level.
create table if not exists scoring.cluster_profiles (
    task text not null,
    model_version text not null,
    segment integer not null,
    position integer not null,
    feature text not null,
    level text,
    segment_mean double precision,
    overall_mean double precision not null,
    z_score double precision not null,
    primary key (task, model_version, segment, position),
    foreign key (task, model_version, segment)
    references scoring.segments (task, model_version, segment)
);

-- What the tables of an earlier version of leadlight lack.
alter table scoring.models alter column judged_from drop not null;
alter table scoring.models alter column judged_through drop not null;

do $$
begin
    if exists (
        select 1 from information_schema.columns
        where table_schema = 'scoring' and table_name = 'training_trials'
            and column_name = 'mean_log_loss'
    ) then
        alter table scoring.training_trials rename column mean_log_loss to mean_score;
        alter table scoring.training_trials rename column std_log_loss to std_score;
        alter table scoring.training_trials alter column std_score drop not null;
        update scoring.training_trials set mean_score = -mean_score;
    end if;
end
$$;
