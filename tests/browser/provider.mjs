// A provider of OpenID Connect: `node provider.mjs PEOPLE`, where PEOPLE is a JSON file of claims by login.
// It prints its port, reads the address that it sends browsers back to, prints "ready", and ends with its input.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const server = createServer();
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
const lines = createInterface({ input: process.stdin }).on("close", () => process.exit());
lines.once("line", (redirect) => {
  const provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
    clients: [
      {
        client_id: "reelport",
        client_secret: "the secret of this client: as long as one",
        redirect_uris: [redirect],
        post_logout_redirect_uris: [`${new URL(redirect).origin}/studio/sign-in`],
      },
    ],
    scopes: ["openid", "email", "groups"],
    claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
    cookies: { keys: ["of this test alone"] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, ...JSON.parse(readFileSync(process.argv[2]))[id] }),
    }),
  });
  server.on("request", provider.callback());
  console.log("ready");
});
