var settings = {
"async": true,
"crossDomain": true,
"url": "https://YOUR_AUTH0_DOMAIN/api/v2/tenants/settings",
"method": "PATCH",
"headers": {
"content-type": "application/json",
"authorization": "Bearer API2_ACCESS_TOKEN",
"cache-control": "no-cache"
},
"processData": false,
"data": "{ \"flags\": { \"enable_dynamic_client_registration\": true } }"
}
$.ajax(settings).done(function (response) {
console.log(response);
});
