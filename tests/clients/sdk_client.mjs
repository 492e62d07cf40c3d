// A client on the npm SDK that reads `mcp.json` as VS Code does: with its own JSONC parser, and its variables.
//
//     node sdk_client.mjs NODE_MODULES SCRIPT     SCRIPT: JSON with the file, its key, variables and calls
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , modules, text] = process.argv;
const script = JSON.parse(text);
const require = createRequire(pathToFileURL(`${modules}/`));
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport, getDefaultEnvironment } = await load("@modelcontextprotocol/sdk/client/stdio.js");
const { parse, printParseErrorCode } = require("jsonc-parser");

const wrong = [];
// VS Code reads its settings with exactly these options.
const file = parse(readFileSync(script.file, "utf8"), wrong, { allowTrailingComma: true });
if (wrong.length) throw new Error(wrong.map((one) => printParseErrorCode(one.error)).join(", "));

const filled = (value) => {
  if (typeof value === "string") return value.replace(/\$\{([^}]+)\}/g, (all, name) => script.variables[name] ?? all);
  if (Array.isArray(value)) return value.map(filled);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, filled(one)]));
  }
  return value;
};

const found = {};
for (const [name, entry] of Object.entries(filled(file[script.key]))) {
  const { command, args, env } = entry;
  const client = new Client({ name: "code", version: "1" }, { capabilities: {} });
  await client.connect(new StdioClientTransport({ command, args, env: { ...getDefaultEnvironment(), ...env } }));
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const answers = [];
  for (const [tool, given] of script.calls[name]) answers.push(await client.callTool({ name: tool, arguments: given }));
  found[name] = { tools, answers };
  await client.close();
}
process.stdout.write(JSON.stringify({ found, inputs: file.inputs ?? [] }));
process.exit(0);
