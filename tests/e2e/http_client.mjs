// An MCP client over HTTP on the npm SDK: plays one script, as http_client.py does.
//
//     node http_client.mjs SDK SCRIPT     where SDK is the directory of @modelcontextprotocol/sdk
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , sdk, text] = process.argv;
const script = JSON.parse(text);
const require = createRequire(pathToFileURL(`${sdk}/`));
const load = async (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } = await load("types.js");

const capabilities = { roots: {}, sampling: {}, elicitation: {} };
const client = new Client({ name: "http", version: "1" }, { capabilities });
client.setRequestHandler(ElicitRequestSchema, async () => ({ action: "decline" }));
client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => ({
  role: "assistant",
  content: { type: "text", text: `a model was asked: ${params.messages[0].content.text}` },
  model: "none",
}));
client.setRequestHandler(ListRootsRequestSchema, async () => ({
  roots: script.roots.map((root) => ({ uri: `file://${root}` })),
}));

const headers = { Authorization: `Bearer ${script.token}` };
const transport = new StreamableHTTPClientTransport(new URL(script.url), { requestInit: { headers } });
await client.connect(transport);
const tools = (await client.listTools()).tools;
const calls = [];
const progress = [];
for (const [name, given] of script.calls) {
  const onprogress = (one) => progress.push(one.progress);
  calls.push(await client.callTool({ name, arguments: given }, undefined, { onprogress }));
}
await transport.terminateSession();
await client.close();
process.stdout.write(JSON.stringify({ tools, calls, progress, roots_asked: 0 }));
process.exit(0);
