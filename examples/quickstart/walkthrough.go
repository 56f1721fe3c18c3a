package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// walk performs what the reference documentation of dynamic registration
// describes, in its order, over HTTP only.
type walk struct {
	made
	out    io.Writer
	client *http.Client

	checks, failures int
}

// registered is the answer to a registration, as the page shows it.
type registered struct {
	ClientName            string   `json:"client_name"`
	ClientID              string   `json:"client_id"`
	ClientSecret          *string  `json:"client_secret"`
	RedirectURIs          []string `json:"redirect_uris"`
	ClientSecretExpiresAt *int64   `json:"client_secret_expires_at"`
	AuthMethod            string   `json:"token_endpoint_auth_method"`
}

const (
	pageRegistration = `{"client_name":"My Dynamic Client","redirect_uris": ["https://client.example.com/callback", "https://client.example.com/callback2"]}`
	pageCallback     = "https://client.example.com/callback"
)

// walkthrough performs every step and returns an error if anything was not as the
// page says.
func walkthrough(ctx context.Context, out io.Writer, transport http.RoundTripper, m made) error {
	shown := &printer{next: transport, out: out}
	w := &walk{made: m, out: out, client: &http.Client{Transport: shown}}
	if err := w.run(ctx, shown); err != nil {
		return fmt.Errorf("walkthrough: %w", err)
	}
	if w.failures > 0 {
		return fmt.Errorf("walkthrough: %d of %d checks failed", w.failures, w.checks)
	}
	fmt.Fprintf(out, "%d checks: everything is as the page says.\n", w.checks)
	return nil
}

// makeReady performs the two steps that open registration, and nothing else.
func makeReady(ctx context.Context, transport http.RoundTripper, m *made) error {
	w := &walk{made: *m, out: io.Discard, client: &http.Client{Transport: transport}}
	token, err := w.managementToken(ctx)
	if err == nil {
		err = w.enable(ctx, token)
	}
	if err == nil {
		err = w.promote(ctx, token)
	}
	if err == nil && w.failures > 0 {
		err = errors.New("the management API refused")
	}
	if err != nil {
		return fmt.Errorf("-ready: %w", err)
	}
	m.Enabled, m.Promoted = true, true
	return nil
}

func (w *walk) run(ctx context.Context, transport http.RoundTripper) error {
	token, err := w.managementToken(ctx)
	if err != nil {
		return err
	}
	if err := w.start(ctx, token); err != nil {
		return err
	}
	if err := w.enable(ctx, token); err != nil {
		return err
	}
	if err := w.promote(ctx, token); err != nil {
		return err
	}
	app, err := w.register(ctx)
	if err != nil {
		return err
	}
	return w.configure(ctx, transport, app)
}

func (w *walk) managementToken(ctx context.Context) (string, error) {
	w.title("A token for the management API")
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
	}
	resp, err := w.post(ctx, "/oauth/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.MgmtClientID}, "client_secret": {w.MgmtClientSecret},
		"audience": {joinURL(w.Issuer, "/api/v2/")},
	}, &answer)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return "", errors.New("there is no management token to go on with")
	}
	w.check(answer.TokenType == "Bearer", "the management client gets a bearer token")
	return answer.AccessToken, nil
}

// start brings the tenant to where the page starts.
func (w *walk) start(ctx context.Context, token string) error {
	w.title("By default, the feature is disabled for all tenants")
	if w.Enabled || w.Promoted {
		w.say("The data is not new: taking back what an earlier walk did.")
		for path, body := range map[string]string{
			"/api/v2/tenants/settings":              `{"flags":{"enable_dynamic_client_registration":false}}`,
			"/api/v2/connections/" + w.ConnectionID: `{"is_domain_connection":false}`,
		} {
			if _, err := w.send(ctx, http.MethodPatch, path, token, body, nil); err != nil {
				return err
			}
		}
	}
	var failure struct {
		Error string `json:"error"`
	}
	resp, err := w.send(ctx, http.MethodPost, "/oidc/register", "", pageRegistration, &failure)
	if err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusForbidden && failure.Error == "access_denied", "an application cannot register")
	return nil
}

func (w *walk) enable(ctx context.Context, token string) error {
	w.title("Update tenant settings")
	const path, body = "/api/v2/tenants/settings", `{ "flags": { "enable_dynamic_client_registration": true } }`
	resp, err := w.send(ctx, http.MethodPatch, path, "", body, nil)
	if err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusUnauthorized, "it needs a token")
	var settings struct {
		Flags map[string]bool `json:"flags"`
	}
	if resp, err = w.send(ctx, http.MethodPatch, path, token, body, &settings); err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusOK && settings.Flags["enable_dynamic_client_registration"], "the flag is set")
	return nil
}

func (w *walk) promote(ctx context.Context, token string) error {
	w.title("Promote connections")
	var connection struct {
		ID       string `json:"id"`
		Promoted bool   `json:"is_domain_connection"`
	}
	resp, err := w.send(ctx, http.MethodPatch, "/api/v2/connections/"+w.ConnectionID, token, `{ "is_domain_connection": true }`, &connection)
	if err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusOK && connection.Promoted && connection.ID == w.ConnectionID, "the connection is a domain connection")
	return nil
}

var (
	pageClientID = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)
	pageSecret   = regexp.MustCompile(`^[A-Za-z0-9]{64}$`)
)

func (w *walk) register(ctx context.Context) (registered, error) {
	w.title("Register your application")
	var app registered
	resp, err := w.send(ctx, http.MethodPost, "/oidc/register", "", pageRegistration, &app)
	if err != nil {
		return registered{}, err
	}
	if resp.StatusCode != http.StatusCreated || app.ClientSecret == nil {
		return registered{}, errors.New("the application did not get registered")
	}
	w.check(strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"), "the answer is JSON")
	w.check(app.ClientName == "My Dynamic Client", "client_name is the one that was sent")
	w.check(slices.Equal(app.RedirectURIs, []string{pageCallback, pageCallback + "2"}), "redirect_uris are the ones that were sent")
	w.check(pageClientID.MatchString(app.ClientID), "client_id has 32 letters and digits")
	w.check(pageSecret.MatchString(*app.ClientSecret), "client_secret has 64 letters and digits")
	w.check(app.ClientSecretExpiresAt != nil && *app.ClientSecretExpiresAt == 0, "client_secret_expires_at is 0")
	w.check(app.AuthMethod == "client_secret_post", "token_endpoint_auth_method is client_secret_post by default")

	w.say("Optionally, token_endpoint_auth_method can be none or client_secret_post.")
	for _, method := range []string{"none", "client_secret_post"} {
		var other registered
		body := strings.Replace(pageRegistration, "{", fmt.Sprintf(`{"token_endpoint_auth_method":%q,`, method), 1)
		if resp, err = w.send(ctx, http.MethodPost, "/oidc/register", "", body, &other); err != nil {
			return registered{}, err
		}
		w.check(resp.StatusCode == http.StatusCreated && other.AuthMethod == method, "%s is registered", method)
		w.check((other.ClientSecret == nil) == (method == "none"), "there is a client_secret only if it is needed")
	}
	w.say("redirect_uris is required.")
	var failure struct {
		Error string `json:"error"`
	}
	if resp, err = w.send(ctx, http.MethodPost, "/oidc/register", "", `{"client_name":"My Dynamic Client"}`, &failure); err != nil {
		return registered{}, err
	}
	w.check(resp.StatusCode == http.StatusBadRequest && failure.Error != "", "a registration without them is refused")
	return app, nil
}

// send sends JSON to a path below the issuer and decodes the answer into v.
func (w *walk) send(ctx context.Context, method, path, token, body string, v any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, joinURL(w.Issuer, path), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Cache-Control", "no-cache")
	}
	return w.do(req, v)
}

func (w *walk) post(ctx context.Context, path string, form url.Values, v any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, joinURL(w.Issuer, path), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(req, v)
}

func (w *walk) get(ctx context.Context, address, token string, v any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(req, v)
}

func (w *walk) do(req *http.Request, v any) (*http.Response, error) {
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if v != nil && len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, v); err != nil {
			return nil, fmt.Errorf("%s %s: %s: %w", req.Method, req.URL, resp.Status, err)
		}
	}
	return resp, nil
}

func (w *walk) title(text string) { fmt.Fprintf(w.out, "\n== %s\n\n", text) }

func (w *walk) say(text string) { fmt.Fprintf(w.out, "   %s\n\n", text) }

func (w *walk) check(ok bool, format string, args ...any) {
	w.checks++
	verdict := "ok"
	if !ok {
		w.failures++
		verdict = "NOT SO"
	}
	fmt.Fprintf(w.out, "   [%s] %s\n\n", verdict, fmt.Sprintf(format, args...))
}
