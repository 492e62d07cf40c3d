// An MCP client on the npm SDK that logs in: prints the scope and resource that it asked for, then the tools.
//
//     node oauth_client.mjs SDK URL     where SDK is the directory of @modelcontextprotocol/sdk
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , sdk, url] = process.argv;
const require = createRequire(pathToFileURL(`${sdk}/`));
const load = async (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");

const kept = {};
const authProvider = {
  redirectUrl: "http://127.0.0.1:1/back",
  clientMetadata: {
    redirect_uris: ["http://127.0.0.1:1/back"],
    client_name: "npm",
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  redirectToAuthorization: (page) => { kept.page = page; },
};
const connected = async () => {
  kept.transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
  const client = new Client({ name: "npm", version: "1" });
  await client.connect(kept.transport);
  return client;
};

await connected().catch((error) => { kept.refused = error.constructor.name; });
await kept.transport.finishAuth("c");
const client = await connected();
const { tools } = await client.listTools();
const asked = Object.fromEntries(kept.page.searchParams);
console.log(JSON.stringify({ ...asked, refused: kept.refused, tools: tools.map((one) => one.name) }));
await client.close();
