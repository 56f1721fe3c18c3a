var request = require("request");
var options = { method: 'POST',
url: 'https://YOUR_AUTH0_DOMAIN/oidc/register',
headers: { 'content-type': 'application/json' },
body:
{ client_name: 'My Dynamic Client',
redirect_uris:
[ 'https://client.example.com/callback',
'https://client.example.com/callback2' ] },
json: true };
request(options, function (error, response, body) {
if (error) throw new Error(error);
console.log(body);
});
