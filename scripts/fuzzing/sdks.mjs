// Says of each question what the npm SDK would make of it: `sdks.mjs PATH-OF-THE-SDK`, JSON lines in and out.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const at = (file) => import(pathToFileURL(`${process.argv[2]}/dist/esm/${file}`).href);
const types = await at('types.js');
const { deserializeMessage } = await at('shared/stdio.js');

const RESULTS = {
  initialize: types.InitializeResultSchema, ping: types.EmptyResultSchema,
  'tools/list': types.ListToolsResultSchema, 'tools/call': types.CallToolResultSchema,
  'resources/list': types.ListResourcesResultSchema, 'resources/read': types.ReadResourceResultSchema,
  'resources/templates/list': types.ListResourceTemplatesResultSchema,
  'prompts/list': types.ListPromptsResultSchema, 'prompts/get': types.GetPromptResultSchema,
  'completion/complete': types.CompleteResultSchema, 'logging/setLevel': types.EmptyResultSchema,
  'roots/list': types.ListRootsResultSchema, 'sampling/createMessage': types.CreateMessageResultSchema,
  'elicitation/create': types.ElicitResultSchema,
};
const SAYS = {
  'client request': types.ClientRequestSchema, 'server request': types.ServerRequestSchema,
  'client notification': types.ClientNotificationSchema, 'server notification': types.ServerNotificationSchema,
};

function line(bytes) {
  const read = deserializeMessage(bytes.toString('utf8').replace(/\r$/, ''));
  const kind = 'method' in read ? ('id' in read ? 'request' : 'notification') : 'response';
  return { kind, id: read.id ?? null, method: read.method ?? null };
}

function answer(question) {
  try {
    if (question.line !== undefined) return { takes: true, reads: line(Buffer.from(question.line, 'base64')) };
    const schema = question.result !== undefined ? RESULTS[question.method] : SAYS[question.says];
    const value = question.result ?? { method: question.method, params: question.params };
    return { takes: schema ? schema.safeParse(value).success : null };
  } catch {
    return { takes: false };
  }
}

for await (const question of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(question)))}\n`);
}
