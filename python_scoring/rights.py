"""What a role may do: read the marts, and nothing else."""

from __future__ import annotations

import psycopg
from psycopg import sql

from python_scoring.settings import Settings

READER = "leadlight_reader"

# What dashboards read; events, scores and whatever lies between are not theirs to see.
MART_LAYERS = ("metrics", "models", "activation", "shared", "features")


def make_reader(
    connection: psycopg.Connection, settings: Settings, role: str, password: str | None
) -> list[str]:
    """Let a role read the marts, present and future; make it if it is missing.

    The marts stand on the role's search path, so that its queries need not name a schema.

    Args:
        connection: As the user who builds the marts: what others build later is not covered.
        settings: The database and the schemas of its layers.
        role: Name of the role.
        password: Its password from now on; None leaves that as it is.

    Returns:
        The schemas that it may read.
    """
    schemas = [f"{settings.schema}_{layer}" for layer in MART_LAYERS]
    name = sql.Identifier(role)
    with connection.transaction():
        if not connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
            connection.execute(sql.SQL("create role {} login").format(name))
        if password is not None:
            connection.execute(
                sql.SQL("alter role {} password {}").format(name, sql.Literal(password))
            )
        for schema in map(sql.Identifier, schemas):
            # A role may be made before the first build, and read from then on.
            for statement in (
                "create schema if not exists {schema}",
                "grant usage on schema {schema} to {role}",
                "grant select on all tables in schema {schema} to {role}",
                "alter default privileges in schema {schema} grant select on tables to {role}",
            ):
                connection.execute(sql.SQL(statement).format(schema=schema, role=name))
        connection.execute(
            sql.SQL("alter role {} in database {} set search_path = {}").format(
                name,
                sql.Identifier(settings.dbname),
                sql.SQL(", ").join(map(sql.Identifier, schemas)),
            )
        )
    return schemas
