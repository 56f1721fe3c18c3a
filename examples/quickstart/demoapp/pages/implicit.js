"use strict";

// Checks an implicit flow's answer (OpenID Connect Core 1.0 §3.2.2.10, §3.2.2.11)
// and calls the API with the access token.
(async () => {
  const byID = (id) => document.getElementById(id);
  const expected = byID("expected").dataset;
  const answer = new URLSearchParams(location.hash.slice(1));
  // Tokens stay neither in the address bar nor in the history.
  history.replaceState(null, "", location.pathname);
  try {
    if (answer.get("state") !== expected.state) throw new Error("The state is not ours: this answer belongs to another sign-in.");
    if (answer.get("iss") !== expected.issuer) throw new Error("The answer comes from another provider.");
    if (answer.has("error")) throw new Error(answer.get("error") + ": " + (answer.get("error_description") || "no description"));
    const accessToken = answer.get("access_token");
    const claims = await verify(answer.get("id_token"), accessToken);
    for (const name of Object.keys(claims).sort()) {
      const row = document.createElement("div");
      row.append(element("dt", name), element("dd", typeof claims[name] === "string" ? claims[name] : JSON.stringify(claims[name])));
      byID("id-token").append(row);
    }
    byID("scope").textContent = answer.get("scope") || "what was asked for";
    const response = await fetch(expected.api, { headers: { authorization: "Bearer " + accessToken } });
    if (!response.ok) throw new Error("The API answered " + response.status + ".");
    byID("api-answer").textContent = JSON.stringify(await response.json(), null, 2);
    byID("tokens").hidden = false;
    byID("message").textContent = "This page checked the ID token's signature, issuer, audience, nonce and at_hash, and asked the API for your data.";
    byID("result").textContent = "You are signed in";
  } catch (error) {
    byID("message").textContent = error.message;
    byID("message").className = "warning";
    byID("result").textContent = "Not signed in";
  }

  async function verify(token, accessToken) {
    const [head, body, signature] = token.split(".");
    const header = parse(head), claims = parse(body);
    if (header.alg !== "RS256") throw new Error("The ID token has the algorithm " + header.alg + ".");
    const { keys } = await (await fetch(expected.jwks)).json();
    const jwk = keys.find((key) => key.kid === header.kid && key.kty === "RSA");
    if (!jwk) throw new Error("The provider has no key " + header.kid + ".");
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
    const signed = new TextEncoder().encode(head + "." + body);
    if (!await crypto.subtle.verify(algorithm, key, bytes(signature), signed)) throw new Error("The ID token's signature is wrong.");
    if (claims.iss !== expected.issuer) throw new Error("The ID token is of another issuer.");
    if (![].concat(claims.aud).includes(expected.clientId)) throw new Error("The ID token is for another application.");
    if (claims.exp * 1000 < Date.now()) throw new Error("The ID token has expired.");
    if (claims.nonce !== expected.nonce) throw new Error("The nonce is not ours.");
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(accessToken));
    const half = new Uint8Array(digest).slice(0, 16);
    if (claims.at_hash !== base64url(half)) throw new Error("The access token does not belong to the ID token.");
    return claims;
  }

  function parse(part) { return JSON.parse(new TextDecoder().decode(bytes(part))); }
  function bytes(part) {
    return Uint8Array.from(atob(part.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  }
  function base64url(array) {
    return btoa(String.fromCharCode(...array)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }
  function element(name, text) {
    const e = document.createElement(name);
    e.textContent = text;
    return e;
  }
})();
