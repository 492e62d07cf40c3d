// Fetches URLs with one of Node's clients: `fetch.cjs CLIENT URL…`, one line of JSON for each.
"use strict";

const PATIENCE_MS = 10_000;
const clients = {
  fetch: (url) => textOf(fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) })),
  undici: async (url) => {
    const { statusCode, body } = await require("undici").request(url, { headersTimeout: PATIENCE_MS });
    return { status: statusCode, body: await body.text() };
  },
  axios: async (url) => {
    const answer = await require("axios").get(url, { timeout: PATIENCE_MS });
    return { status: answer.status, body: answer.data };
  },
};

async function textOf(asked) {
  const answer = await asked;
  return { status: answer.status, body: await answer.text() };
}

async function fetched(client, url) {
  const began = performance.now();
  let result;
  try {
    result = await clients[client](url);
  } catch (error) {
    result = { error: `${error} ${error.cause ?? ""}` };
  }
  return { url, ...result, seconds: (performance.now() - began) / 1000 };
}

(async () => {
  const [client, ...urls] = process.argv.slice(2);
  for (const url of urls) console.log(JSON.stringify(await fetched(client, url)));
})();
