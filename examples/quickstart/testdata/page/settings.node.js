var request = require("request");
var options = { method: 'PATCH',
url: 'https://YOUR_AUTH0_DOMAIN/api/v2/tenants/settings',
headers:
{ 'cache-control': 'no-cache',
authorization: 'Bearer API2_ACCESS_TOKEN',
'content-type': 'application/json' },
body: { flags: { enable_dynamic_client_registration: true } },
json: true };
request(options, function (error, response, body) {
if (error) throw new Error(error);
console.log(body);
});
