var settings = {
"async": true,
"crossDomain": true,
"url": "https://YOUR_AUTH0_DOMAIN/api/v2/connections/CONNECTION_ID",
"method": "PATCH",
"headers": {
"content-type": "application/json",
"authorization": "Bearer API2_ACCESS_TOKEN",
"cache-control": "no-cache"
},
"processData": false,
"data": "{ \"is_domain_connection\": true }"
}
$.ajax(settings).done(function (response) {
console.log(response);
});
