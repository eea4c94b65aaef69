// oidc_provider.mjs: a real OpenID provider (oidc-provider) on loopback TLS, for tests/integration/oidc_provider.py.
//
//   node oidc_provider.mjs CERT.pem KEY.pem CLIENT_SECRET
//
// It says {"issuer": …} on stdout and then takes one word per line on stdin, each answered by one JSON
// line; it ends with stdin.
//
//   rotate   new keys, which sign from now on; those before stay published        {"kids": {alg: kid}}
//   drop     only the newest keys stay published                                  {"kids": …}
//   public   the newest RSA key in PEM, for who mistakes it for a shared secret   {"pem": …}
//   fetched  how often discovery and keys were asked for                          {path: count}
//
// Tokens come from the token endpoint: grant client_credentials, a JWT for the resource that is asked for.
// The resource is "urn:hansard:" and base64url of JSON, so that a test says what it wants:
//
//   { alg, aud, ttl, claims, payload, header, hmac }
//
// claims goes through extraTokenClaims, as a deployment would add them; payload and header change what is
// signed (null removes), for tokens that no provider in order would issue; hmac is a key for alg HS256.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

console.info = console.error; // its advice; stdout is ours
const [certFile, keyFile, secret] = process.argv.slice(2);
const kinds = { RS256: ['rsa', { modulusLength: 2048 }], ES256: ['ec', { namedCurve: 'P-256' }], EdDSA: ['ed25519', {}] };
const generations = [];
const fetched = {};
let kids, rsa, answer, issuer;

function makeKeys() {
  kids = {};
  generations.unshift(Object.entries(kinds).map(([alg, [type, options]]) => {
    const { privateKey, publicKey } = generateKeyPairSync(type, options);
    if (alg === 'RS256') rsa = publicKey;
    kids[alg] = randomBytes(6).toString('hex');
    return { ...privateKey.export({ format: 'jwk' }), kid: kids[alg], alg, use: 'sig' };
  }));
}

function wishOf(resource) {
  return JSON.parse(Buffer.from(resource.replace(/^urn:hansard:/, ''), 'base64url').toString());
}

function resourceServer(ctx, resource) {
  const { alg = 'RS256', aud = 'hansard', ttl = 300, hmac } = wishOf(resource);
  const key = hmac === undefined ? undefined : Buffer.from(hmac);
  const kid = key ? kids.RS256 : kids[alg];
  return { scope: '', audience: aud, accessTokenTTL: ttl, accessTokenFormat: 'jwt', jwt: { sign: { alg, kid, key } } };
}

function change(object, by = {}) {
  for (const [name, value] of Object.entries(by)) {
    if (value === null) delete object[name];
    else object[name] = value;
  }
}

function serve() {
  const wish = (ctx) => wishOf(ctx.oidc.params.resource);
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'job', client_secret: secret, token_endpoint_auth_method: 'client_secret_post',
                grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
    cookies: { keys: [randomBytes(16).toString('hex')] },
    extraTokenClaims: (ctx) => wish(ctx).claims,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    },
    formats: {
      customizers: {
        jwt(ctx, token, jwt) {
          const { payload, header } = wish(ctx);
          change(jwt.payload, payload);
          jwt.header = header;
        },
      },
    },
    jwks: { keys: generations.flat() },
  });
  provider.on('server_error', (ctx, e) => console.error(e));
  provider.on('grant.error', (ctx, e) => console.error(e));
  answer = provider.callback();
}

const commands = {
  rotate() { makeKeys(); serve(); return { kids }; },
  drop() { generations.length = 1; serve(); return { kids }; },
  public() { return { pem: rsa.export({ type: 'spki', format: 'pem' }) }; },
  fetched() { return fetched; },
};

const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (req, res) => {
  if (req.method === 'GET') fetched[req.url] = (fetched[req.url] ?? 0) + 1;
  answer(req, res);
});
server.listen(0, '127.0.0.1', () => {
  issuer = `https://localhost:${server.address().port}`;
  makeKeys();
  serve();
  console.log(JSON.stringify({ issuer, kids }));
  createInterface({ input: process.stdin })
    .on('line', (line) => console.log(JSON.stringify(commands[line]())))
    .on('close', () => process.exit(0));
});
