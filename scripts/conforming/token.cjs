// Loaded before the suite: every request of its carries the bearer token of CONFORMANCE_TOKEN.
//
// The suite has no option for it. Its own HTTP client and the `fetch` of node share one dispatcher, which
// node makes with the first use and keeps under this symbol.
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

if (token) {
  fetch("data:,");
  globalThis[SHARED] = new Proxy(globalThis[SHARED], {
    get: (target, name) => {
      const found = name === "dispatch" ? dispatching(target) : Reflect.get(target, name);
      return typeof found === "function" && name !== "dispatch" ? found.bind(target) : found;
    },
  });
}
