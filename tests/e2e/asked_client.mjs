// An MCP client on the npm SDK whose person answers: plays one script, as asked_client.py does.
//
//     node asked_client.mjs SDK SCRIPT     where SDK is the directory of @modelcontextprotocol/sdk
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , sdk, text] = process.argv;
const script = JSON.parse(text);
const require = createRequire(pathToFileURL(`${sdk}/`));
const load = async (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } = await load("types.js");

const questions = [];
let sampled = 0;
const elicits = script.answer === "none" ? {} : { elicitation: {} };
const capabilities = { roots: {}, sampling: {}, ...elicits };
const client = new Client({ name: "asked", version: "1" }, { capabilities });
if (script.answer !== "none") {
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
    questions.push(params.message);
    if (script.answer === "silence") await new Promise(() => {});
    if (["decline", "cancel"].includes(script.answer)) return { action: script.answer };
    const [name] = Object.keys(params.requestedSchema.properties);
    return { action: "accept", content: { [name]: script.answer } };
  });
}
client.setRequestHandler(CreateMessageRequestSchema, async () => {
  sampled += 1;
  return { role: "assistant", content: { type: "text", text: "a model's word" }, model: "none" };
});
client.setRequestHandler(ListRootsRequestSchema, async () => ({
  roots: script.roots.map((root) => ({ uri: `file://${root}` })),
}));

const [command, ...args] = script.argv;
await client.connect(new StdioClientTransport({ command, args, env: script.env, cwd: script.cwd }));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const calls = [];
for (const [name, given] of script.calls) {
  try {
    calls.push(await client.callTool({ name, arguments: given }));
  } catch (error) {
    calls.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify({ tools, calls, questions, sampled }));
await client.close();
process.exit(0);
