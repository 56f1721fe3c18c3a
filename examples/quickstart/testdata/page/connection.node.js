var request = require("request");
var options = { method: 'PATCH',
url: 'https://YOUR_AUTH0_DOMAIN/api/v2/connections/CONNECTION_ID',
headers:
{ 'cache-control': 'no-cache',
authorization: 'Bearer API2_ACCESS_TOKEN',
'content-type': 'application/json' },
body: { is_domain_connection: true },
json: true };
request(options, function (error, response, body) {
if (error) throw new Error(error);
console.log(body);
});
