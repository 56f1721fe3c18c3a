package main

import (
	"fmt"
	"io"
	"strings"
	"text/template"
)

// tutorial is what the quickstart prints: what it made, and the commands of the
// reference documentation in their order, ready to paste into one shell.
var tutorial = template.Must(template.New("").Funcs(template.FuncMap{
	"quote": shellQuote, "join": joinURL,
}).Parse(`opkit quickstart

  issuer             {{.Issuer}}
  user               {{.User}}
  password           {{.Password}}
  connection         {{.ConnectionID}} ({{if .Promoted}}a domain connection{{else}}not promoted{{end}})
  management client  {{.MgmtClientID}}
  its secret         {{.MgmtClientSecret}}
  API                {{.Audience}} (scopes {{.Scopes}}), served at {{.APIURL}}
  registration       {{if .Enabled}}on{{else}}off, as for every new tenant{{end}}; applications become {{.Mode}}

  console            {{.ConsoleURL}} (sign in as the user above)
{{- if .AppURL}}
  demo application   {{.AppURL}}{{end}}
{{- if .PprofURL}}
  profiler           {{.PprofURL}}/debug/pprof/{{end}}
{{- if .CAFile}}
  CA certificate     {{.CAFile}}{{end}}
{{- if .Database}}
  data               {{.Database}}
  secret             {{.SecretFile}}{{end}}

{{if and .Enabled .Promoted}}Registration is ready. The commands can be repeated.{{else}}The following commands make it ready.{{end}} Paste them into one shell, in order.

# A token for the management API.
API2_ACCESS_TOKEN=$(curl --silent --request POST \
  --url {{join .Issuer "/oauth/token" | quote}}{{.CurlCA}} \
  --data grant_type=client_credentials \
  --data-urlencode {{printf "client_id=%s" .MgmtClientID | quote}} \
  --data-urlencode {{printf "client_secret=%s" .MgmtClientSecret | quote}} \
  --data-urlencode {{join .Issuer "/api/v2/" | printf "audience=%s" | quote}} \
  | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

# Enable dynamic registration.
curl --request PATCH \
  --url {{join .Issuer "/api/v2/tenants/settings" | quote}}{{.CurlCA}} \
  --header "authorization: Bearer $API2_ACCESS_TOKEN" \
  --header 'cache-control: no-cache' \
  --header 'content-type: application/json' \
  --data '{ "flags": { "enable_dynamic_client_registration": true } }'

# Promote the connection to a domain connection.
curl --request PATCH \
  --url {{printf "/api/v2/connections/%s" .ConnectionID | join .Issuer | quote}}{{.CurlCA}} \
  --header "authorization: Bearer $API2_ACCESS_TOKEN" \
  --header 'cache-control: no-cache' \
  --header 'content-type: application/json' \
  --data '{ "is_domain_connection": true }'

# Register an application.
REGISTERED=$(curl --silent --request POST \
  --url {{join .Issuer "/oidc/register" | quote}}{{.CurlCA}} \
  --header 'content-type: application/json' \
  --data '{"client_name":"My Dynamic Client","redirect_uris": ["https://client.example.com/callback", "https://client.example.com/callback2"]}')
echo "$REGISTERED"

{{if eq .Mode "strict"}}# Strict applications do not get tokens from the authorization endpoint: they use
# the code flow with PKCE, as the demo application does.
{{else}}# Open the printed address in a browser and sign in. It ends at
# https://client.example.com/callback, which does not exist, with the tokens
# behind the # in the address bar.
CLIENT_ID=$(echo "$REGISTERED" | sed 's/.*"client_id":"\([^"]*\)".*/\1/')
random() { head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
echo {{join .Issuer "/authorize" | quote}}"?audience=appointments:api&scope=appointments%20contacts&response_type=id_token%20token&client_id=$CLIENT_ID&redirect_uri=https://client.example.com/callback&nonce=$(random)&state=$(random)"
{{end}}{{if .AppURL}}
An application that does all of this by itself: {{.AppURL}}
{{end}}
Ctrl-C ends the quickstart.
`))

// made is what the quickstart made or found, for the tutorial.
type made struct {
	state
	Scopes     string
	Mode       string
	Enabled    bool
	Promoted   bool
	Database   string
	SecretFile string

	userID        string
	consoleSecret string
	mgmtScopes    []string
}

// ConsoleURL is where administrators look at all of it.
func (m made) ConsoleURL() string { return originOf(m.Issuer) + consolePath + "/" }

// CurlCA makes curl trust the certificate authority.
func (m made) CurlCA() string {
	if m.CAFile == "" {
		return ""
	}
	return " --cacert " + shellQuote(m.CAFile)
}

func (m made) print(w io.Writer) error {
	if err := tutorial.Execute(w, m); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// joinURL appends a path to an issuer with or without a slash at its end.
func joinURL(issuer, path string) string { return strings.TrimSuffix(issuer, "/") + path }

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
