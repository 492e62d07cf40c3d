// Answers each line, `{format, text}` as JSON, with what a client's own parser reads: `{value}` or `{error}`.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const load = createRequire(process.argv[2] + "/");
const jsonc = load("jsonc-parser");
const yaml = load("yaml");
const toml = load("smol-toml");

function commented(text) {
  const errors = [];
  const value = jsonc.parse(text, errors, { allowTrailingComma: true });
  if (errors.length) throw new Error(JSON.stringify(errors[0]));
  return value;
}

const parsers = { json: commented, yaml: (text) => yaml.parse(text, { logLevel: "error" }), toml: toml.parse };

for await (const line of createInterface({ input: process.stdin })) {
  const { format, text } = JSON.parse(line);
  let answer;
  try {
    answer = { value: parsers[format](text) };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
}
