"""Servers of services: each is started, listed, and seen to connect to the host of its profile alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.profiles.loopback import loopback
from tests.profiles.served import Call, Ground, Refused, Served

NOBODY = "a-token-that-is-nobody-s"


HITS = {"hits": {"total": {"value": 1}, "hits": [{"_id": "1", "_source": {"title": "a title"}}]}}
BOOKS = [{"index": "books", "health": "green", "status": "open", "docsCount": "1"}]


BERLIN, PARIS = {"longitude": 13.4, "latitude": 52.5}, {"longitude": 2.35, "latitude": 48.85}

# The client speaks to nobody who does not say this.
ELASTIC = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}


@contextmanager
def indices(_here: Path) -> Iterator[Mapping[str, str]]:
    """`{port}`: as much of Elasticsearch as two tools of its server ask for."""
    with loopback(lambda path: json.dumps(HITS if "_search" in path else BOOKS).encode(), ELASTIC) as port:
        yield {"port": str(port)}


def stand_in(said: object) -> Ground:
    """`{port}`: a service that says the same to everybody who shows the token, and nothing to others."""

    @contextmanager
    def ground(_here: Path) -> Iterator[Mapping[str, str]]:
        content = json.dumps(said).encode()
        with loopback(lambda _: content, {"Content-Type": "application/json"}, NOBODY) as port:
            yield {"port": str(port)}

    return ground


PROJECT = {
    "id": 1,
    "name": "otter",
    "path_with_namespace": "zoo/otter",
    "visibility": "public",
    "web_url": "http://localhost/zoo/otter",
    "description": None,
    "ssh_url_to_repo": "git@localhost:zoo/otter.git",
    "http_url_to_repo": "http://localhost/zoo/otter.git",
    "created_at": "2026-01-01",
    "last_activity_at": "2026-01-01",
    "default_branch": "main",
}
STAND_IN = "--allow-net localhost:{port}"


def asked_for_real(
    profile: str, call: Call, said: object, env: Mapping[str, str], flags: str = "", told: str = ""
) -> Served:
    """The server with a service of the user's own, here the test's, which answers if it may be asked."""
    return Served(
        profile,
        refused=(Refused(call, STAND_IN, told),),
        variant="own",
        flags=flags,
        env=env,
        ground=stand_in(said),
    )


OWN = (
    asked_for_real(
        "gitlab",
        Call("search_repositories", {"search": "otter"}, "zoo/otter"),
        [PROJECT],
        {"GITLAB_PERSONAL_ACCESS_TOKEN": NOBODY, "GITLAB_API_URL": "http://localhost:{port}/api/v4"},
    ),
    asked_for_real(
        "gitlab-zereight",
        Call("search_repositories", {"search": "otter"}, "zoo/otter"),
        [PROJECT],
        {"GITLAB_PERSONAL_ACCESS_TOKEN": NOBODY, "GITLAB_API_URL": "http://localhost:{port}/api/v4"},
    ),
    asked_for_real(
        "notion",
        Call("API-get-self", {}, "an otter"),
        {"object": "user", "name": "an otter"},
        {"NOTION_TOKEN": f"ntn_{NOBODY}", "BASE_URL": "http://localhost:{port}"},
        "--allow-env BASE_URL",
    ),
    asked_for_real(
        "firecrawl",
        Call("firecrawl_scrape", {"url": "https://example.com"}, "The otter eats fish"),
        {"success": True, "data": {"markdown": "The otter eats fish", "metadata": {}}},
        {"FIRECRAWL_API_KEY": NOBODY, "FIRECRAWL_API_URL": "http://localhost:{port}"},
    ),
    asked_for_real(
        "context7",
        Call("query-docs", {"libraryId": "/zoo/otter", "query": "food"}, "The otter eats fish"),
        "The otter eats fish",
        {"CONTEXT7_API_KEY": f"ctx7sk-{NOBODY}", "CONTEXT7_API_URL": "http://localhost:{port}"},
        "--allow-env CONTEXT7_API_URL",
        "fetch failed",
    ),
)

SERVERS: tuple[Served, ...] = (
    *OWN,
    Served(
        "context7",
        (Call("resolve-library-id", {"libraryName": "react", "query": "hooks"}, dials="context7.com"),),
        oldest="4.0.0",
    ),
    Served(
        "notion",
        (Call("API-get-self", {}, dials="api.notion.com"),),
        env={"NOTION_TOKEN": f"ntn_{NOBODY}"},
        finds=("the session's secret `NOTION_TOKEN`",),  # its older versions write the token to their stderr
        oldest="2.0.0",
    ),
    Served(
        "github",
        (Call("search_repositories", {"query": "mcp"}, dials="api.github.com"),),
        env={"GITHUB_PERSONAL_ACCESS_TOKEN": NOBODY},
    ),
    Served(
        "gitlab",
        (Call("search_repositories", {"search": "mcp"}, dials="gitlab.com"),),
        env={"GITLAB_PERSONAL_ACCESS_TOKEN": NOBODY},
        finds=("inputSchema/type` is missing",),  # it says so of several tools, and every client forgives it
    ),
    Served(
        "gitlab-zereight",
        (Call("search_repositories", {"search": "mcp"}, dials="gitlab.com"),),
        env={"GITLAB_PERSONAL_ACCESS_TOKEN": NOBODY},
        tries=("registry.*.org",),
        oldest="2.0.34",
    ),
    Served(
        "slack",
        (Call("slack_list_channels", {}, dials="slack.com"),),
        env={"SLACK_BOT_TOKEN": NOBODY, "SLACK_TEAM_ID": "T01234567"},
    ),
    Served(
        "brave-search",
        (Call("brave_web_search", {"query": "mcp"}, dials="api.search.brave.com"),),
        env={"BRAVE_API_KEY": NOBODY},
        oldest="2.0.62",
    ),
    Served(
        "brave-search-reference",
        (Call("brave_web_search", {"query": "mcp"}, dials="api.search.brave.com"),),
        env={"BRAVE_API_KEY": NOBODY},
    ),
    Served(
        "google-maps",
        (Call("maps_geocode", {"address": "Berlin"}, "REDACTED", dials="maps.googleapis.com"),),
        env={"GOOGLE_MAPS_API_KEY": NOBODY},
        finds=("the session's secret `GOOGLE_MAPS_API_KEY`",),  # its errors name the address, key and all
    ),
    Served(
        "tavily",
        (Call("tavily_search", {"query": "mcp"}, dials="api.tavily.com"),),
        env={"TAVILY_API_KEY": NOBODY},
        oldest="0.2.19",
    ),
    Served(
        "firecrawl",
        (Call("firecrawl_scrape", {"url": "https://example.com"}, dials="api.firecrawl.dev"),),
        env={"FIRECRAWL_API_KEY": NOBODY},
    ),
    Served(
        "exa",
        (Call("web_search_exa", {"query": "mcp"}, dials="api.exa.ai"),),
        env={"EXA_API_KEY": NOBODY},
        tries=("api.agnost.ai",),
    ),
    Served(
        "figma",
        (Call("get_figma_data", {"fileKey": "abc123"}, dials="api.figma.com"),),
        env={"FIGMA_API_KEY": NOBODY},
        oldest="0.11.0",
    ),
    Served(
        "airtable",
        (Call("list_bases", {}, dials="api.airtable.com"),),
        env={"AIRTABLE_API_KEY": f"pat123.{NOBODY}"},
    ),
    Served(
        "supabase",
        (Call("list_projects", {}, dials="api.supabase.com"),),
        env={"SUPABASE_ACCESS_TOKEN": f"sbp_{NOBODY}"},
        unlisted="its list waits for a schema that its service sends",
    ),
    Served(
        "sentry",
        (Call("find_organizations", {}, dials="sentry.io"),),
        env={"SENTRY_ACCESS_TOKEN": NOBODY},
    ),
    Served(
        "hubspot",
        (Call("hubspot-get-user-details", {}, dials="api.hubspot.com"),),
        env={"PRIVATE_APP_ACCESS_TOKEN": f"pat-{NOBODY}"},
    ),
    Served(
        "shopify-dev",
        (Call("search_docs_chunks", {"prompt": "x", "conversationId": "1"}, dials="shopify.dev"),),
    ),
    Served(
        "antv-chart",
        (
            Call(
                "generate_bar_chart",
                {"data": [{"category": "a", "value": 1}]},
                dials="antv-studio.alipay.com",
            ),
        ),
    ),
    Served(
        "elasticsearch",
        (
            Call("list_indices", {"indexPattern": "*"}, "books"),
            Call("search", {"index": "books", "queryBody": {"query": {"match_all": {}}}}, "a title"),
        ),
        flags="--allow-net localhost:{port}",
        env={"ES_URL": "http://localhost:{port}", "ES_API_KEY": NOBODY},
        ground=indices,
        oldest="0.3.0",
    ),
    Served(
        "perplexity",
        (
            Call(
                "perplexity_ask",
                {"messages": [{"role": "user", "content": "mcp?"}]},
                dials="api.perplexity.ai",
            ),
        ),
        env={"PERPLEXITY_API_KEY": NOBODY},
    ),
    Served(
        "mapbox",
        (
            Call("distance_tool", {"from": BERLIN, "to": PARIS}, "876.8 kilometers"),
            Call("search_and_geocode_tool", {"q": "Berlin"}, dials="api.mapbox.com"),
        ),
        # Of the shape that it asks for: three parts, the second of which says whose it is.
        finds=("the session's secret `MAPBOX_ACCESS_TOKEN`",),  # in a page that it offers to clients
        env={"MAPBOX_ACCESS_TOKEN": "pk.eyJ1Ijoibm9ib2R5IiwiYSI6IngifQ.bm9ib2R5LXMtc2lnbmF0dXJl"},
    ),
)
