"""Servers of databases, each with a real one beside it: what each is asked under its shipped profile."""

from __future__ import annotations

from tests.profiles.served import Served

SERVERS: tuple[Served, ...] = ()
