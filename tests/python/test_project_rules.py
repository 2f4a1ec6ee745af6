"""The rule book for the dbt project, read from dbt's own manifest.

The rules are those of dbt-project-evaluator (its documentation explains each), and a few of this
project's own: who owns what, how things are described, how large a file may be.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT_DIR

PREFIXES = {"staging": ("stg_",), "intermediate": ("int_",), "marts": ("fct_", "dim_")}
LAYERS = list(PREFIXES)
TABLES = ("table", "incremental")


class Project:
    """dbt's manifest, as far as the rules ask for it: models by name, and who reads whom."""

    def __init__(self, manifest: Any) -> None:
        own = [
            node
            for node in manifest.nodes.values()
            if node.package_name == manifest.metadata.project_name
        ]
        self.ids = {node.unique_id: node.name for node in own}
        self.models = {node.name: node for node in own if node.resource_type == "model"}
        self.tests = [node for node in own if node.resource_type == "test"]
        self.sources = {
            f"{source.source_name}.{source.name}": source for source in manifest.sources.values()
        }
        self.ids |= {source.unique_id: name for name, source in self.sources.items()}
        self.exposures = list(manifest.exposures.values())
        self.macros = [
            macro
            for macro in manifest.macros.values()
            if macro.package_name == manifest.metadata.project_name
        ]
        self.parents = {name: self.names(model) for name, model in self.models.items()}
        self.children: dict[str, set[str]] = defaultdict(set)
        for name, parents in self.parents.items():
            for parent in parents:
                self.children[parent].add(name)
        self.exposed = {name for exposure in self.exposures for name in self.names(exposure)}

    def names(self, node: Any) -> set[str]:
        """What a node reads: models and seeds by name, sources as `source.table`."""
        return {self.ids[parent] for parent in node.depends_on.nodes}

    def layer(self, model: str) -> str:
        return Path(self.models[model].original_file_path).parts[1]

    def is_public(self, model: str) -> bool:
        return self.models[model].access == "public"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, dbt_folders: None) -> Project:
    from dbt.cli.main import dbtRunner

    profiles_dir = tmp_path_factory.mktemp("rules")
    output = {"type": "postgres", "host": "nowhere", "port": 1, "user": "nobody", "password": ""}
    output |= {"dbname": "nothing", "schema": "leadlight"}
    profile = {"target": "rules", "outputs": {"rules": output}}
    (profiles_dir / "profiles.yml").write_text(yaml.safe_dump({"leadlight": profile}))
    folders = ["--project-dir", str(PROJECT_DIR), "--profiles-dir", str(profiles_dir)]
    outcome = dbtRunner().invoke(["--log-level", "none", "parse", *folders])
    assert outcome.success, outcome.exception
    return Project(outcome.result)


def test_project_was_read(project: Project) -> None:
    assert len(project.models) > 30
    assert len(project.sources) >= 4
    assert len(project.tests) > len(project.models)


# Who reads whom --------------------------------------------------------------------------------


def test_only_staging_reads_sources_and_nothing_else(project: Project) -> None:
    for name, parents in project.parents.items():
        if project.layer(name) == "staging":
            assert len(parents) == 1, name
            assert parents <= project.sources.keys(), name
        else:
            assert not parents & project.sources.keys(), name


def test_every_source_table_has_one_staging_model(project: Project) -> None:
    for source in project.sources:
        assert project.children[source] == {f"stg_{source.replace('.', '__')}"}


def test_models_read_only_what_stands_before_them(project: Project) -> None:
    # Features are marts that labels read, and the registry is one that everybody may read.
    public_inputs = {
        name
        for name, model in project.models.items()
        if Path(model.original_file_path).parts[:3]
        in {("models", "marts", "features"), ("models", "marts", "shared")}
    }
    for name, parents in project.parents.items():
        for parent in parents & project.models.keys() - public_inputs:
            before, after = LAYERS.index(project.layer(parent)), LAYERS.index(project.layer(name))
            assert before <= after, f"{name} reads {parent}"


def test_no_model_has_seven_parents(project: Project) -> None:
    wide = [name for name, parents in project.parents.items() if len(parents) >= 7]
    assert not wide, "\n".join(wide)


def test_no_parent_has_three_leaves(project: Project) -> None:
    def is_leaf(name: str) -> bool:
        return not project.children[name] and name not in project.exposed

    leaves = {
        name: [child for child in children if is_leaf(child)]
        for name, children in list(project.children.items())
    }
    fanned = [f"{name}: {', '.join(found)}" for name, found in leaves.items() if len(found) >= 3]
    assert not fanned, "\n".join(fanned)


def test_no_upstream_concept_is_rejoined(project: Project) -> None:
    """A -> B -> C and A -> C, where nobody but C reads B: then B is a part of C."""
    rejoined = [
        f"{first} -> {between} -> {last}"
        for last, parents in project.parents.items()
        for between in parents & project.models.keys()
        if project.children[between] == {last}
        for first in project.parents[between] & parents
    ]
    assert not rejoined, "\n".join(rejoined)


def test_chains_of_views_are_short(project: Project) -> None:
    def chain(name: str) -> list[str]:
        if name not in project.models or project.models[name].config.materialized in TABLES:
            return []
        return [*max(map(chain, project.parents[name]), key=len, default=[]), name]

    too_long = [" -> ".join(found) for found in map(chain, project.models) if len(found) > 4]
    assert not too_long, "\n".join(too_long)


def test_exposures_read_public_tables(project: Project) -> None:
    assert project.exposures
    for exposure in project.exposures:
        for name in project.names(exposure):
            assert project.is_public(name), f"{exposure.name} reads {name}"
            assert project.models[name].config.materialized in TABLES, name


# A relation is named by `ref` or `source` alone ---------------------------------------------------

EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
COMMENT = re.compile(r"\{%.*?%\}|\{#.*?#\}|/\*.*?\*/|--[^\n]*", re.DOTALL)
# Where `from` names no relation.
NO_RELATION = re.compile(
    r"\bis\s+(not\s+)?distinct\s+from\b|\b(extract|trim|substring|overlay)\s*\([^()]*?\bfrom\b",
    re.I,
)
RELATION = re.compile(
    r'\b(?:from|join)\s+((?:"[^"]+"|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|[\w$]+))*)', re.I
)
CTE = re.compile(r"(?:\bwith|,)\s+(?:recursive\s+)?(\w+)\s+as\s+(?:materialized\s+)?\(", re.I)


def hard_coded_relations(sql: str) -> list[str]:
    """Return what `from` and `join` name, Jinja and the query's own CTEs aside."""
    sql = EXPRESSION.sub(" jinja ", COMMENT.sub(" ", sql))
    sql = NO_RELATION.sub(" ", sql)
    known = {"jinja", "lateral", "unnest", "generate_series"} | set(CTE.findall(sql))
    return [name for name in RELATION.findall(sql) if name not in known]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select 1 from {{ ref('a') }} join {{ source('s', 't') }}", []),
        ("with a as (select 1), b as (select 2) select * from a left join b on true", []),
        ("with a as (select 1), {% if x %} b as (select 2) {% endif %} select * from b", []),
        ("select extract(day from a.ts - b.ts), a.x is distinct from b.x", []),
        ("-- from x.y\n/* join x.y */ {# from x.y #} select 1", []),
        ("select * from tracking.events", ["tracking.events"]),
        ('select * from {{ ref("a") }} join "db"."s"."t"', ['"db"."s"."t"']),
        ("select * from\n    events", ["events"]),
    ],
)
def test_hard_coded_relations_are_seen(sql: str, found: list[str]) -> None:
    assert hard_coded_relations(sql) == found


def test_no_relation_is_hard_coded(project: Project) -> None:
    found = [
        f"{name} reads {relation}"
        for name, model in project.models.items()
        for relation in hard_coded_relations(model.raw_code)
    ]
    assert not found, "\n".join(found)


# Where things stand ----------------------------------------------------------------------------


def test_models_stand_in_the_folder_of_their_layer(project: Project) -> None:
    for name, model in project.models.items():
        _, layer, folder, file = Path(model.original_file_path).parts
        assert file == f"{name}.sql"
        assert name.startswith(PREFIXES[layer]), f"{name} in {layer}"
        if layer == "staging":
            assert name.startswith(f"stg_{folder}__")


def test_sources_stand_with_their_staging_models(project: Project) -> None:
    for name, source in project.sources.items():
        folder = f"models/staging/{source.source_name}"
        assert source.original_file_path == f"{folder}/_{source.source_name}__sources.yml", name


def test_yaml_files_are_named_after_their_folder_and_small() -> None:
    for path in PROJECT_DIR.glob("models/**/*.yml"):
        n_lines = len(path.read_text().splitlines())
        assert n_lines <= 300, path
        if path.parent != PROJECT_DIR / "models":
            kinds = "sources|models|unit_tests|semantic_models|metrics"
            pattern = rf"_{path.parent.name}(_\w+?)?__({kinds})"
            assert re.fullmatch(pattern, path.stem), path


def test_properties_stand_beside_their_model(project: Project) -> None:
    for name, model in project.models.items():
        assert model.patch_path, name
        properties = Path(model.patch_path.split("://")[1])
        assert properties.parent == Path(model.original_file_path).parent, name


def test_one_macro_a_file(project: Project) -> None:
    assert project.macros
    files = Counter(macro.original_file_path for macro in project.macros)
    assert [file for file, n_macros in files.items() if n_macros > 1] == []
    for macro in project.macros:
        is_test = macro.name.startswith("test_")
        name = macro.name.removeprefix("test_") if is_test else macro.name
        assert Path(macro.original_file_path).stem == name


# What is said of them ----------------------------------------------------------------------------


def test_every_description_begins_with_the_grain(project: Project) -> None:
    described = {name: model.description for name, model in project.models.items()}
    described |= {name: source.description for name, source in project.sources.items()}
    wrong = [name for name, text in described.items() if not text.startswith("One row per ")]
    assert not wrong, "\n".join(wrong)


def test_every_macro_and_its_arguments_are_described(project: Project) -> None:
    undescribed = [
        macro.name
        for macro in project.macros
        if not macro.description or not all(argument.description for argument in macro.arguments)
    ]
    assert not undescribed, "\n".join(undescribed)


def test_sources_have_freshness_and_a_description(project: Project) -> None:
    for name, source in project.sources.items():
        assert source.source_description, name
        assert source.loaded_at_field or source.loaded_at_query, name
        assert source.freshness and source.freshness.warn_after.count, name


def test_public_models_have_contracts_and_described_columns(project: Project) -> None:
    public = [name for name in project.models if project.is_public(name)]
    assert public
    for name in public:
        model = project.models[name]
        assert model.config.contract.enforced, name
        undescribed = [
            column.name
            for column in model.columns.values()
            if not column.description or not column.data_type
        ]
        assert model.columns and undescribed == [], name


def test_columns_of_every_model_are_described(project: Project) -> None:
    undescribed = [
        f"{name}.{column.name}"
        for name, model in project.models.items()
        for column in model.columns.values()
        if not column.description
    ]
    assert not undescribed, "\n".join(undescribed)


def test_access_and_groups_are_set(project: Project) -> None:
    """What others read is public, and somebody owns it; all else is for this project alone."""
    for name, model in project.models.items():
        is_mart = project.layer(name) == "marts"
        assert project.is_public(name) == is_mart, name
        assert bool(model.config.group) == is_mart, name


def test_every_exposure_says_what_and_whose_it_is(project: Project) -> None:
    for exposure in project.exposures:
        assert exposure.description and exposure.owner.email, exposure.name
        assert exposure.label and exposure.maturity, exposure.name


# Those of Metabase's types that are used; dbt-metabase carries them over.
METABASE_TYPES = {"PK", "Currency", "Percentage", "Category", "Description", "CreationTimestamp"}


def test_metabase_is_told_what_key_columns_mean(project: Project) -> None:
    types: dict[str, set[str]] = defaultdict(set)
    for name, model in project.models.items():
        for column in model.columns.values():
            told = {k: v for k, v in column.config.meta.items() if k.startswith("metabase.")}
            assert set(told) <= {"metabase.semantic_type", "metabase.display_name"}, name
            assert not told or project.is_public(name), name
            if "metabase.semantic_type" in told:
                types[column.name].add(told["metabase.semantic_type"])
            if column.name == "task" and name.startswith("fct_") and "features" not in name:
                assert "metabase.semantic_type" in told or "coupon" in name, name
    assert {value for found in types.values() for value in found} == {
        f"type/{name}" for name in METABASE_TYPES
    }
    # A name means the same in every model; what is a key in one may be chosen from in another.
    for name, found in types.items():
        assert len(found - {"type/PK"}) <= 1, name


# Tests -----------------------------------------------------------------------------------------


def generic_tests(project: Project, model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the arguments of each generic test of a model."""
    for test in project.tests:
        if getattr(test, "attached_node", None) == model.unique_id and test.config.enabled:
            yield test.test_metadata.name, test.test_metadata.kwargs


def filled_columns(project: Project, model: Any) -> set[str]:
    """The columns that are said never to be NULL: by a test, or by the contract."""
    filled = {
        column.name
        for column in model.columns.values()
        if any(constraint.type == "not_null" for constraint in column.constraints)
    }
    for test, arguments in generic_tests(project, model):
        if test == "not_null":
            filled.add(arguments["column_name"])
        elif test == "expression_is_true":
            # One test for a whole key.
            for columns in re.findall(r"num_nulls\(([^()]*)\)\s*=\s*0", arguments["expression"]):
                filled |= {column.strip() for column in columns.split(",")}
    return filled


def replaced_by(model: Any) -> set[str]:
    """The columns by which an increment finds the rows that it replaces."""
    key = model.config.unique_key or []
    return {key} if isinstance(key, str) else set(key)


def test_every_model_has_a_tested_primary_key(project: Project) -> None:
    without = []
    for name, model in project.models.items():
        tests = list(generic_tests(project, model))
        filled = filled_columns(project, model)
        has_column = any(
            test == "unique" and arguments["column_name"] in filled for test, arguments in tests
        )
        # What an increment replaces by is never NULL; a further part of the key may be.
        has_combination = any(
            test == "unique_combination_of_columns"
            and (replaced_by(model) or set(arguments["combination_of_columns"])) <= filled
            for test, arguments in tests
        )
        if not has_column and not has_combination:
            without.append(name)
    assert not without, "\n".join(without)


def test_what_an_increment_replaces_by_is_never_null(project: Project) -> None:
    """In `delete+insert` a NULL in the key matches nothing, so its row would stand twice."""
    without = []
    for name, model in project.models.items():
        if missing := replaced_by(model) - filled_columns(project, model):
            without.append(f"{name}: {', '.join(sorted(missing))}")
    assert not without, "\n".join(without)


def test_no_test_is_switched_off_or_loosened(project: Project) -> None:
    for test in project.tests:
        assert test.config.enabled, test.name
        assert test.config.error_if == "!= 0", test.name
        assert test.config.where is None, test.name
