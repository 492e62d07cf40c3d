// Loaded before the suite: every request of its carries the bearer token of CONFORMANCE_TOKEN.
//
// The suite has no option for it. Its own HTTP client and the `fetch` of node share one dispatcher, which
// node makes with the first use and keeps under this symbol; where it writes headers itself it uses `http`.
const http = require("node:http");

const SHARED = Symbol.for("undici.globalDispatcher.1");
const token = process.env.CONFORMANCE_TOKEN;

const named = (headers) => {
  const flat = Array.isArray(headers)
    ? headers
    : headers && typeof headers[Symbol.iterator] === "function"
      ? [...headers].flat()
      : Object.entries(headers ?? {}).flatMap(([name, value]) => [name, value]);
  return [...flat, "authorization", `Bearer ${token}`];
};

const dispatching = (target) => (options, handler) =>
  target.dispatch({ ...options, headers: named(options.headers) }, handler);

const added = http.Agent.prototype.addRequest;

function naming(request, ...rest) {
  // Headers that were given as a list are written already.
  if (request._header) request._header = request._header.replace(/\r\n\r\n$/, `\r\nauthorization: Bearer ${token}\r\n\r\n`);
  else request.setHeader("authorization", `Bearer ${token}`);
  return added.call(this, request, ...rest);
}

if (token) {
  http.Agent.prototype.addRequest = naming;
  fetch("data:,");
  globalThis[SHARED] = new Proxy(globalThis[SHARED], {
    get: (target, name) => {
      const found = name === "dispatch" ? dispatching(target) : Reflect.get(target, name);
      return typeof found === "function" && name !== "dispatch" ? found.bind(target) : found;
    },
  });
}
