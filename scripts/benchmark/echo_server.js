// The smallest MCP server there is, for node: answers `initialize`, lists a tool and echoes.
'use strict';
const tool = {
  name: 'echo',
  description: 'Says it again.',
  inputSchema: { type: 'object', properties: { message: { type: 'string' } }, required: ['message'] },
};
let parts = [];

function answer(line) {
  const message = JSON.parse(line);
  if (!('id' in message)) return;
  const result =
    message.method === 'tools/call'
      ? { content: [{ type: 'text', text: message.params.arguments.message }] }
      : message.method === 'tools/list'
      ? { tools: [tool] }
      : { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'echo', version: '1' } };
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id: message.id, result })}\n`);
}

process.stdin.on('data', (chunk) => {
  let rest = chunk;
  for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
    answer(Buffer.concat([...parts, rest.subarray(0, end)]).toString());
    parts = [];
    rest = rest.subarray(end + 1);
  }
  if (rest.length) parts.push(rest);
});
