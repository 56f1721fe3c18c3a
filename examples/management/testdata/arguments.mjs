// What the test says to a script.
export const [scheme, domain, clientId, clientSecret, database, seeded] = process.argv.slice(2);

// The SDKs would ask for that of https.
export const audience = scheme + "://" + domain + "/api/v2/";

// Both SDKs put https before the domain. Where the provider speaks http, as on a
// developer's machine, the requests are the same but for that.
export function overHTTP() {
  if (scheme !== "http") return;
  const send = globalThis.fetch;
  globalThis.fetch = (url, init) => send(String(url).replace("https://" + domain, "http://" + domain), init);
}
