"""Servers that drive a browser: what each is asked under its shipped profile."""

from __future__ import annotations

from tests.profiles.served import Served

SERVERS: tuple[Served, ...] = ()
