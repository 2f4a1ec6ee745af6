"""The stand-ins of dbt_utils and dbt_expectations do what the real packages document.

A tiny dbt project that uses nothing but the stand-ins is built once; every test reads its results.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from python_scoring.settings import Settings

PACKAGES_DIR = Path(__file__).resolve().parents[2] / "offline_packages"
PACKAGES = ("dbt_utils", "dbt_expectations")
PROJECT = "stand_ins"
SCHEMA = "offline_packages_check"

MODELS = {
    "numbers": """
        select * from (
            values (1::numeric, 'low'), (5, 'mid'), (10, 'high'), (null, 'none')
        ) as rows (amount, note)
    """,
    "signed": "select * from (values (-1), (0), (1)) as rows (amount)",
    "empty": "select 1 as amount where false",
    "all_null": "select null::integer as amount from generate_series(1, 3)",
    "texts": r"""
        select * from (
            values ('a', 'a'), ('b', ''), ('c', '  '), ('d', null), ('e', e'\t')
        ) as rows (filled, gappy)
    """,
    "pairs": """
        select * from (
            values
                (1, 1, 'x'), (2, 1, 'y'),
                (3, 2, 'w'), (4, 2, 'w'), (5, 2, 'w'),
                (6, null, 'z'), (7, null, 'z'),
                (8, null, null), (9, null, null)
        ) as rows (id, a, b)
    """,
    "mixed_case": """
        select * from (values (1, 1), (1, 2)) as rows ("Key", other)
    """,
    "duplicated": """
        select * from (values (1, 'a'), (2, null), (2, null)) as rows (id, note)
    """,
    "distinct_rows": "select * from (values (2, null), (1, 'a')) as rows (id, note)",
    "changed": "select * from (values (1, 'a'), (2, 'b')) as rows (id, note)",
    "comparisons": """
        select * from (values (2, 1), (1, 1), (0, 1), (null, 1), (1, null)) as rows (a, b)
    """,
    "codes": """
        select * from (values ('AB-12'), ('ab-12'), ('xAB-12y'), (null)) as rows (code)
    """,
    "typed": "select now() as seen_at, 1::double precision as score, array[1] as bins",
    "keys": """
        select
            {{ dbt_utils.generate_surrogate_key(['a', 'b']) }} as pair_key,
            {{ dbt_utils.generate_surrogate_key(['a']) }} as single_key
        from (values (1, 'x', 5), (2, 'x', null), (3, '', 5), (4, null, null)) as rows (id, a, b)
        order by id
    """,
    "spine_day": """
        {{ dbt_utils.date_spine(
            datepart='day',
            start_date="cast('2024-02-27' as date)",
            end_date="cast('2024-03-02' as date)"
        ) }}
    """,
    "spine_month": """
        {{ dbt_utils.date_spine(
            'month', "cast('2023-12-01' as date)", "cast('2024-02-01' as date)"
        ) }}
    """,
    "wide": 'select 1 as id, 2 as "Amount", 3 as note',
    "star_plain": "select {{ dbt_utils.star(ref('wide')) }} from {{ ref('wide') }}",
    "star_except": """
        select {{ dbt_utils.star(from=ref('wide'), except=['ID', 'amount']) }}
        from {{ ref('wide') }}
    """,
    "star_affixes": """
        select {{ dbt_utils.star(ref('wide'), prefix='p_', suffix='_s') }} from {{ ref('wide') }}
    """,
    "star_alias": """
        select {{ dbt_utils.star(ref('wide'), relation_alias='w') }}
        from {{ ref('wide') }} as w
        cross join (select 0 as id) as other
    """,
    "star_unquoted": """
        select {{ dbt_utils.star(
            ref('wide'), except=['Amount'], prefix='P_', suffix='_s', quote_identifiers=false
        ) }}
        from {{ ref('wide') }}
    """,
    "star_of_nothing": """
        select {{ dbt_utils.star(ref('wide'), except=['id', 'amount', 'note']) }}
        from {{ ref('wide') }}
    """,
    "filtered_columns": """
        select '{{ dbt_utils.get_filtered_columns_in_relation(ref("wide"), except=["NOTE"])
            | join("|") }}' as names
        from {{ ref('wide') }}
    """,
    "inlined": "{{ config(materialized='ephemeral') }} select 1 as id",
    "star_of_ephemeral": "select {{ dbt_utils.star(ref('inlined')) }} from {{ ref('inlined') }}",
}


@dataclass(frozen=True)
class Case:
    """A generic test on a model or one of its columns, and how many rows it has to fail with."""

    name: str
    test: str
    target: str
    failures: int
    arguments: dict[str, Any] = field(default_factory=dict)


def utils(name: str, test: str, target: str, failures: int, **arguments: Any) -> Case:
    """Return the case of a test of dbt_utils."""
    return Case(f"{test}_{name}", f"dbt_utils.{test}", target, failures, arguments)


def expectations(name: str, test: str, target: str, failures: int, **arguments: Any) -> Case:
    """Return the case of a test of dbt_expectations."""
    return Case(f"{test}_{name}", f"dbt_expectations.{test}", target, failures, arguments)


BETWEEN = "expect_column_values_to_be_between"
GREATER = "expect_column_pair_values_A_to_be_greater_than_B"
REGEX = "expect_column_values_to_match_regex"
ROW_COUNT = "expect_table_row_count_to_be_between"
OF_TYPE = "expect_column_values_to_be_of_type"
COMPOUND = "expect_compound_columns_to_be_unique"

CASES = [
    utils("null_passes", "accepted_range", "numbers.amount", 0, min_value=1, max_value=10),
    utils("zero_bounds", "accepted_range", "signed.amount", 2, min_value=0, max_value=0),
    utils("lower_bound_alone", "accepted_range", "numbers.amount", 1, min_value=2),
    utils("upper_bound_alone", "accepted_range", "numbers.amount", 1, max_value=5),
    utils("exclusive", "accepted_range", "numbers.amount", 2, min_value=1, max_value=10,
          inclusive=False),
    utils("bound_by_expression", "accepted_range", "numbers.amount", 1, min_value="length(note)"),
    utils("no_bounds", "accepted_range", "numbers.amount", 0),

    utils("null_passes", "expression_is_true", "numbers", 0, expression="amount < 11"),
    utils("false_fails", "expression_is_true", "numbers", 1, expression="amount < 10"),
    utils("with_or", "expression_is_true", "numbers", 1, expression="amount < 5 or amount > 5"),
    utils("of_column", "expression_is_true", "numbers.amount", 0, expression=">= 1"),
    utils("of_column_fails", "expression_is_true", "numbers.amount", 1, expression=">= 5"),

    utils("filled", "not_empty_string", "texts.filled", 0),
    utils("spaces_fail_null_and_tab_pass", "not_empty_string", "texts.gappy", 2),
    utils("untrimmed", "not_empty_string", "texts.gappy", 1, trim_whitespace=False),

    utils("unique", "unique_combination_of_columns", "pairs", 0,
          combination_of_columns=["id", "a"]),
    utils("nulls_are_equal", "unique_combination_of_columns", "pairs", 3,
          combination_of_columns=["a", "b"]),

    utils("same", "equal_rowcount", "duplicated", 0, compare_model="ref('all_null')"),
    utils("difference_is_counted", "equal_rowcount", "numbers", 5, compare_model="ref('pairs')"),
    utils("both_empty", "equal_rowcount", "empty", 0, compare_model="ref('empty')"),
    utils("one_empty", "equal_rowcount", "empty", 4, compare_model="ref('numbers')"),

    utils("nulls_and_duplicates_are_equal", "equality", "duplicated", 0,
          compare_model="ref('distinct_rows')"),
    utils("counts_both_sides", "equality", "duplicated", 2, compare_model="ref('changed')"),
    utils("extra_row_here", "equality", "distinct_rows", 1, compare_columns=["id"],
          compare_model="ref('star_plain')"),
    utils("extra_row_there", "equality", "star_plain", 1, compare_columns=["id"],
          compare_model="ref('distinct_rows')"),
    utils("compare_columns", "equality", "duplicated", 0, compare_model="ref('changed')",
          compare_columns=["id"]),
    utils("exclude_columns", "equality", "duplicated", 0, compare_model="ref('changed')",
          exclude_columns=["NOTE"]),
    utils("mixed_case_columns", "equality", "mixed_case", 0, compare_model="ref('mixed_case')"),

    utils("some_value", "at_least_one", "numbers.amount", 0),
    utils("all_null", "at_least_one", "all_null.amount", 1),
    utils("empty", "at_least_one", "empty.amount", 1),

    expectations("null_passes", BETWEEN, "numbers.amount", 0, min_value=1, max_value=10),
    expectations("zero_bounds", BETWEEN, "signed.amount", 2, min_value=0, max_value=0),
    expectations("lower_bound_alone", BETWEEN, "numbers.amount", 1, min_value=2),
    expectations("strictly", BETWEEN, "numbers.amount", 2, min_value=1, max_value=10,
                 strictly=True),
    expectations("row_condition", BETWEEN, "numbers.amount", 0, min_value=2,
                 row_condition="note <> 'low'"),
    expectations("row_condition_with_or", BETWEEN, "numbers.amount", 1, min_value=2,
                 row_condition="note = 'low' or note = 'high'"),

    expectations("null_passes", GREATER, "comparisons", 2, column_A="a", column_B="b"),
    expectations("or_equal", GREATER, "comparisons", 1, column_A="a", column_B="b",
                 or_equal=True),
    expectations("row_condition", GREATER, "comparisons", 0, column_A="a", column_B="b",
                 or_equal=True, row_condition="a > 0"),
    expectations("row_condition_with_or", GREATER, "comparisons", 1, column_A="a", column_B="b",
                 or_equal=True, row_condition="a > 0 or b = 1"),

    expectations("null_fails", REGEX, "codes.code", 3, regex=r"^[A-Z]{2}-\d{2}$"),
    expectations("raw", REGEX, "codes.code", 3, regex=r"^[A-Z]{2}-\d{2}$", is_raw=True),
    expectations("flags", REGEX, "codes.code", 2, regex=r"^[A-Z]{2}-\d{2}$", flags="i"),
    expectations("found_anywhere", REGEX, "codes.code", 0, regex=r"[A-Z]-\d", flags="i",
                 row_condition="code is not null"),
    expectations("row_condition_with_or", REGEX, "codes.code", 1, regex="^[A-Z]",
                 row_condition="code = 'ab-12' or code = 'AB-12'"),

    expectations("inclusive", ROW_COUNT, "numbers", 0, min_value=4, max_value=4),
    expectations("too_few", ROW_COUNT, "numbers", 1, min_value=5),
    expectations("too_many", ROW_COUNT, "numbers", 1, max_value=3),
    expectations("empty", ROW_COUNT, "empty", 0, max_value=0),
    expectations("empty_fails", ROW_COUNT, "empty", 1, min_value=1),

    expectations("same", OF_TYPE, "typed.seen_at", 0, column_type="timestamp with time zone"),
    expectations("any_case", OF_TYPE, "typed.score", 0, column_type="DOUBLE PRECISION"),
    expectations("array", OF_TYPE, "typed.bins", 0, column_type="array"),
    expectations("of_another_column", OF_TYPE, "typed.seen_at", 1,
                 column_type="double precision"),
    expectations("missing_column", OF_TYPE, "typed.gone", 1, column_type="date"),

    expectations("unique", COMPOUND, "pairs", 0, column_list=["id", "a"]),
    expectations("nulls_are_equal", COMPOUND, "pairs", 2, column_list=["a", "b"]),
    expectations("any_value_missing", COMPOUND, "pairs", 1, column_list=["a", "b"],
                 ignore_row_if="any_value_is_missing"),
    expectations("row_condition", COMPOUND, "pairs", 0, column_list=["a", "b"],
                 ignore_row_if="any_value_is_missing", row_condition="b = 'x' or b is null"),
    expectations("quoted", COMPOUND, "mixed_case", 1, column_list=["Key"], quote_columns=True),
]  # fmt: skip

# A mistake in a call that shows without the database stops dbt when it parses.
MISTAKES = [
    (expectations("no_bounds", BETWEEN, "numbers.amount", 0), "Give a min_value"),
    (expectations("unknown_rule", COMPOUND, "pairs", 0, column_list=["a"], ignore_row_if="never"),
     "ignore_row_if is 'never'"),
    (utils("both_lists", "equality", "duplicated", 0, compare_model="ref('changed')",
           compare_columns=["id"], exclude_columns=["note"]),
     "compare_columns or exclude_columns, not both"),
]  # fmt: skip
# This one needs the database, so it ends the test alone.
DIFFERENT_COLUMNS = utils(
    "other_columns", "equality", "duplicated", 0, compare_model="ref('numbers')"
)


def properties(cases: list[Case]) -> dict[str, Any]:
    """Return the property file that puts every case on its model or column."""
    models: dict[str, dict[str, Any]] = {}
    for case in cases:
        model_name, _, column_name = case.target.partition(".")
        node = models.setdefault(model_name, {"name": model_name, "columns": []})
        if column_name:
            columns = node["columns"]
            node = next((c for c in columns if c["name"] == column_name), {"name": column_name})
            if node not in columns:
                columns.append(node)
        node.setdefault("data_tests", []).append(
            {"name": case.name, "test_name": case.test, "arguments": case.arguments}
        )
    return {"version": 2, "models": list(models.values())}


def write_project(folder: Path, database: Settings, cases: list[Case]) -> None:
    """Write the project with the stand-ins where `dbt deps` would have put the real packages."""
    for package in PACKAGES:
        shutil.copytree(PACKAGES_DIR / package, folder / "dbt_packages" / package)
    (folder / "models").mkdir()
    for name, text in MODELS.items():
        (folder / "models" / f"{name}.sql").write_text(text, encoding="utf-8")
    files = {
        "models/properties.yml": properties(cases),
        "packages.yml": {
            "packages": [
                {"package": "dbt-labs/dbt_utils", "version": [">=1.3.0", "<2.0.0"]},
                {"package": "metaplane/dbt_expectations", "version": [">=0.10.8", "<0.11.0"]},
            ]
        },
        "dbt_project.yml": {
            "name": PROJECT,
            "version": "1.0.0",
            "profile": PROJECT,
            "models": {PROJECT: {"+materialized": "view"}},
            "flags": {
                "send_anonymous_usage_stats": False,
                # Descriptions of arguments that differ from the macro's signature end the build.
                "validate_macro_args": True,
                "warn_error": True,
            },
        },
        "profiles.yml": {
            PROJECT: {
                "target": "test",
                "outputs": {
                    "test": {
                        "type": "postgres",
                        "host": database.host,
                        "port": database.port,
                        "user": database.user,
                        "password": database.password,
                        "dbname": database.dbname,
                        "schema": SCHEMA,
                        "threads": 4,
                    }
                },
            }
        },
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def run_dbt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run dbt in the project, in a process of its own because dbt keeps global state."""
    return subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *arguments,
         "--project-dir", str(folder), "--profiles-dir", str(folder),
         "--target-path", str(folder / "target")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Built:
    """The project after its one build."""

    folder: Path
    results: dict[str, dict[str, Any]]
    connection: psycopg.Connection[Any]

    def read(self, model: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the column names and the rows of a model."""
        query = sql.SQL("select * from {}").format(sql.Identifier(SCHEMA, model))
        cursor = self.connection.execute(query)
        assert cursor.description is not None
        return [column.name for column in cursor.description], cursor.fetchall()


@pytest.fixture(scope="session")
def built(database: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build the project once; drop its schema at the end."""
    folder = tmp_path_factory.mktemp("stand_ins")
    write_project(folder, database, [*CASES, DIFFERENT_COLUMNS])
    process = run_dbt(folder, "build")
    results_file = folder / "target" / "run_results.json"
    assert results_file.is_file(), process.stdout + process.stderr
    results = json.loads(results_file.read_text(encoding="utf-8"))["results"]
    with psycopg.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        dbname=database.dbname,
        autocommit=True,
    ) as connection:
        # A unique_id reads model.<project>.<name> or test.<project>.<name>.<hash>.
        yield Built(folder, {r["unique_id"].split(".")[2]: r for r in results}, connection)
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(SCHEMA)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_generic_test_fails_with_the_right_number_of_rows(built: Built, case: Case) -> None:
    result = built.results[case.name]
    expected = ("fail", case.failures) if case.failures else ("pass", 0)
    assert (result["status"], result["failures"]) == expected, result["message"]


@pytest.mark.parametrize(("case", "message"), MISTAKES, ids=[case.name for case, _ in MISTAKES])
def test_mistake_in_a_call_stops_dbt(
    database: Settings, tmp_path: Path, case: Case, message: str
) -> None:
    write_project(tmp_path, database, [case])
    process = run_dbt(tmp_path, "parse")
    assert process.returncode != 0
    assert message in process.stdout


def test_equality_refuses_relations_with_different_columns(built: Built) -> None:
    result = built.results[DIFFERENT_COLUMNS.name]
    assert result["status"] == "error"
    assert "have different columns" in result["message"]


def test_all_models_build_but_the_star_of_an_ephemeral_one(built: Built) -> None:
    failed = {
        name: result["message"]
        for name, result in built.results.items()
        if name in MODELS and result["status"] != "success"
    }
    assert list(failed) == ["star_of_ephemeral"]
    assert "it is ephemeral" in failed["star_of_ephemeral"]


def test_surrogate_key_is_the_md5_of_the_joined_texts(built: Built) -> None:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    null = "_dbt_utils_surrogate_key_null_"
    assert built.read("keys")[1] == [
        (md5("x-5"), md5("x")),
        (md5(f"x-{null}"), md5("x")),
        (md5("-5"), md5("")),
        (md5(f"{null}-{null}"), md5(null)),
    ]


def test_date_spine_includes_its_start_and_not_its_end(built: Built) -> None:
    columns, rows = built.read("spine_day")
    assert columns == ["date_day"]
    assert sorted(rows) == [
        (datetime(2024, 2, 27),),
        (datetime(2024, 2, 28),),
        (datetime(2024, 2, 29),),
        (datetime(2024, 3, 1),),
    ]


def test_date_spine_steps_by_its_datepart(built: Built) -> None:
    columns, rows = built.read("spine_month")
    assert columns == ["date_month"]
    assert sorted(rows) == [(datetime(2023, 12, 1),), (datetime(2024, 1, 1),)]


@pytest.mark.parametrize(
    ("model", "columns", "rows"),
    [
        ("star_plain", ["id", "Amount", "note"], [(1, 2, 3)]),
        ("star_except", ["note"], [(3,)]),
        ("star_affixes", ["p_id_s", "p_Amount_s", "p_note_s"], [(1, 2, 3)]),
        ("star_alias", ["id", "Amount", "note"], [(1, 2, 3)]),
        ("star_unquoted", ["p_id_s", "p_note_s"], [(1, 3)]),
        ("star_of_nothing", [], [()]),
        ("filtered_columns", ["names"], [("id|Amount",)]),
    ],
)
def test_columns_of_a_relation(
    built: Built, model: str, columns: list[str], rows: list[tuple[Any, ...]]
) -> None:
    assert built.read(model) == (columns, rows)


def test_star_without_quotes_writes_none(built: Built) -> None:
    columns, _, _ = built.results["star_unquoted"]["compiled_code"].partition("from")
    assert columns.split() == ["select", "id", "as", "P_id_s,", "note", "as", "P_note_s"]


def test_star_without_columns_compiles_to_something_a_linter_can_read(built: Built) -> None:
    process = run_dbt(built.folder, "compile", "--select", "star_of_nothing")
    assert process.returncode == 0, process.stdout
    assert re.search(r"select \* *\n +from", process.stdout), process.stdout


def test_every_generic_test_has_a_passing_and_a_failing_case() -> None:
    defined = {
        f"{package}.{name}"
        for package in PACKAGES
        for file in (PACKAGES_DIR / package).rglob("*.sql")
        for name in re.findall(r"{% test (\w+)\(", file.read_text(encoding="utf-8"))
    }
    assert {case.test for case in CASES if case.failures == 0} == defined
    assert {case.test for case in CASES if case.failures > 0} == defined


def test_every_macro_and_argument_is_described(built: Built) -> None:
    manifest = json.loads((built.folder / "target" / "manifest.json").read_text(encoding="utf-8"))
    macros = [m for m in manifest["macros"].values() if m["package_name"] in PACKAGES]
    undescribed = [
        f"{macro['name']} {part['name']}"
        for macro in macros
        for part in (macro, *macro["arguments"])
        if not part["description"]
    ]
    assert macros
    assert undescribed == []


def test_one_macro_a_file_under_its_own_name(built: Built) -> None:
    manifest = json.loads((built.folder / "target" / "manifest.json").read_text(encoding="utf-8"))
    macros = [m for m in manifest["macros"].values() if m["package_name"] in PACKAGES]
    stems = sorted(Path(macro["original_file_path"]).stem for macro in macros)
    assert stems == sorted(macro["name"].removeprefix("test_") for macro in macros)
