// An authorization server that people run, oidc-provider: over TLS, with signed tokens and DPoP.
//
//     node issuer.mjs MODULES KEY CERTIFICATE     prints its URL; ends with its stdin
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , modules, key, cert] = process.argv;
const require = createRequire(pathToFileURL(`${modules}/`));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
const { exportJWK, generateKeyPair } = await import(pathToFileURL(require.resolve("jose")));

const signing = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: alg };
};
const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) });
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `https://127.0.0.1:${server.address().port}`;
const provider = new Provider(url, {
  jwks: { keys: [await signing("RS256"), await signing("ES256")] },
  clients: ["RS256", "ES256"].map((alg) => ({
    client_id: alg, client_secret: "secret", grant_types: ["client_credentials"],
    redirect_uris: [], response_types: [],
  })),
  scopes: ["mcp:read", "mcp:all", "other"],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: async (ctx, asked, client) => ({
        scope: "mcp:read mcp:all other", audience: asked, accessTokenFormat: "jwt", accessTokenTTL: 120,
        jwt: { sign: { alg: client.clientId } },
      }),
    },
  },
});
server.on("request", provider.callback());
console.log(url);
process.stdin.resume().on("end", () => process.exit(0));
