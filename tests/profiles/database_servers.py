"""Servers of databases, each with a real one beside it: what each is asked under its shipped profile."""

from __future__ import annotations

from tests.profiles.databases import mariadb, memcached, open_redis, postgres, redis
from tests.profiles.served import Call, Served

THIS = "--allow-net localhost:{port}"
"""The database of a test listens on a free port, not on the one that the profile names."""

POSTGRES = Served(
    "postgres",
    (
        Call("query", {"sql": "SELECT name FROM people"}, "Ada"),
        Call("query", {"sql": "SELECT count(*) AS many FROM information_schema.tables;"}, "many"),
    ),
    flags=THIS,
    command="npx -y @modelcontextprotocol/server-postgres postgresql://postgres@localhost:{port}/postgres",
    env={"PGPASSWORD": "{password}"},
    ground=postgres,
)
REDIS = Served(
    "redis",
    (
        Call("set", {"key": "ada", "value": "lovelace"}, "Success"),
        Call("get", {"key": "ada"}, "lovelace"),
        Call("hset", {"name": "otter", "key": "eats", "value": "fish"}),
        Call("hgetall", {"name": "otter"}, "fish"),
        Call("dbsize", {}, "2"),
        Call("delete", {"key": "ada"}, "Success"),
    ),
    flags=THIS,
    command="uvx redis-mcp-server --port {port}",
    env={"REDIS_PWD": "{password}"},
    ground=redis,
)
REDIS_REFERENCE = Served(
    "redis-reference",
    (
        Call("set", {"key": "ada", "value": "lovelace"}, "Success"),
        Call("get", {"key": "ada"}, "lovelace"),
        Call("list", {"pattern": "*"}, "ada"),
        Call("delete", {"key": "ada"}, "Success"),
    ),
    flags=THIS,
    command="npx -y @modelcontextprotocol/server-redis redis://localhost:{port}",
    ground=open_redis,
)
MYSQL = Served(
    "mysql",
    (
        Call("execute_sql", {"query": "INSERT INTO people VALUES ('Grace')"}, "affected"),
        Call("execute_sql", {"query": "SELECT name FROM people"}, "Grace"),
        Call("get_schema_info", {"table_name": "people"}, "name"),
    ),
    flags=THIS,
    env={
        "MYSQL_PORT": "{port}",
        "MYSQL_USER": "keeper",
        "MYSQL_PASSWORD": "{password}",
        "MYSQL_DATABASE": "zoo",
    },
    ground=mariadb,
)
MEMCACHED = Served(
    "memcached",
    (
        Call("cache_set", {"key": "ada", "value": "lovelace", "expire": 60}, "Success"),
        Call("cache_get", {"key": "ada"}, "lovelace"),
        Call("cache_delete", {"key": "ada"}, "Success"),
    ),
    flags=THIS,
    env={"MEMCACHED_PORT": "{port}"},
    ground=memcached,
)
MONGODB = Served("mongodb", (Call("list-connections", {}, "no active connections"),))
"""No MongoDB is to be had here: it is started and listed, and dials the port that it may."""

SERVERS: tuple[Served, ...] = (POSTGRES, REDIS, REDIS_REFERENCE, MYSQL, MEMCACHED, MONGODB)
