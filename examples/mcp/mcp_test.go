package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/examples/internal/browser"
	"github.com/opkit/opkit/examples/internal/tool"
	"github.com/opkit/opkit/tenant"
)

const password = "correct horse battery staple"

// world is the running example. It keeps every request that the provider got.
type world struct {
	t        *testing.T
	base     string
	provider *opkit.Provider

	mu       sync.Mutex
	requests []recorded
}

type recorded struct {
	method, path string
	query, form  url.Values
	body         string
	status       int
}

func start(t *testing.T, change func(*opkit.Config)) *world {
	t.Helper()
	return serve(t, change, func(w *world, cfg opkit.Config) (handler http.Handler, err error) {
		handler, w.provider, err = newHandler(t.Context(), cfg, password)
		return handler, err
	})
}

// serve starts what build makes of the configuration.
func serve(t *testing.T, change func(*opkit.Config), build func(*world, opkit.Config) (http.Handler, error)) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, base: "http://" + listener.Addr().String()}
	secret := make([]byte, 32)
	rand.Read(secret)
	cfg := opkit.Config{
		Issuer: w.base, Secret: secret,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if change != nil {
		change(&cfg)
	}
	handler, err := build(w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: w.record(handler)}}
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections() // streams that clients left open
		server.Close()
	})
	return w
}

func (w *world) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == mcpPath {
			next.ServeHTTP(rw, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		form, _ := url.ParseQuery(string(body))
		w.mu.Lock()
		w.requests = append(w.requests, recorded{r.Method, r.URL.Path, r.URL.Query(), form, string(body), answer.Code})
		w.mu.Unlock()
		for name, values := range answer.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(answer.Code)
		rw.Write(answer.Body.Bytes())
	})
}

// to returns the requests to a path, and forgets them.
func (w *world) to(path string) []recorded {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []recorded
	w.requests = slices.DeleteFunc(w.requests, func(r recorded) bool {
		if r.path == path {
			found = append(found, r)
		}
		return r.path == path
	})
	return found
}

// allow is a person who opens an address, signs in if need be, and allows what the
// application asks for. It returns where the browser arrived.
func (w *world) allow(b *browser.Browser, address string) (string, error) {
	ctx := w.t.Context()
	page, err := b.Open(ctx, address)
	for range 3 {
		if err != nil {
			return "", err
		}
		switch {
		case strings.HasPrefix(page.Address.String(), b.Stop):
			return page.Address.String(), nil
		case strings.Contains(page.Body, `id="login-submit"`):
			page, err = b.Submit(ctx, page, map[string]string{"username": user, "password": password}, "")
		case strings.Contains(page.Body, `id="consent-allow"`):
			page, err = b.Submit(ctx, page, nil, "decision=allow")
		default:
			return "", fmt.Errorf("the page at %s: %s", page.Address, page.Body)
		}
	}
	return "", errors.New("too many pages")
}

// client is an MCP client on the official Go SDK with a person in front of it.
type client struct {
	*mcp.ClientSession
	handler *auth.AuthorizationCodeHandler
	opened  []url.Values // authorization requests
}

const redirectURL = "http://127.0.0.1:49200/callback" // nobody listens: the browser stops there

func (w *world) connect(change func(*auth.AuthorizationCodeHandlerConfig)) *client {
	w.t.Helper()
	c := &client{}
	person := browser.New(http.DefaultTransport, redirectURL)
	cfg := &auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "Go client", RedirectURIs: []string{redirectURL}, GrantTypes: []string{"authorization_code", "refresh_token"},
		}},
		RedirectURL: redirectURL, RequestRefreshToken: true,
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			u, err := url.Parse(args.URL)
			if err != nil {
				return nil, err
			}
			c.opened = append(c.opened, u.Query())
			at, err := w.allow(person, args.URL)
			if err != nil {
				return nil, err
			}
			if u, err = url.Parse(at); err != nil {
				return nil, err
			}
			q := u.Query()
			if q.Get("error") != "" {
				return nil, fmt.Errorf("%s: %s", q.Get("error"), q.Get("error_description"))
			}
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	}
	if change != nil {
		change(cfg)
	}
	var err error
	if c.handler, err = auth.NewAuthorizationCodeHandler(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	c.ClientSession, err = mcp.NewClient(&mcp.Implementation{Name: "go-client", Version: "1.0.0"}, nil).
		Connect(ctx, &mcp.StreamableClientTransport{Endpoint: w.base + mcpPath, OAuthHandler: c.handler, DisableStandaloneSSE: true}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// call calls a tool and returns the notes.
func (c *client) call(t *testing.T, name string, arguments map[string]any) []string {
	t.Helper()
	res, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		t.Fatal(err)
	}
	var out noteList
	text, _ := json.Marshal(res.StructuredContent)
	if err := json.Unmarshal(text, &out); err != nil || res.IsError {
		t.Fatalf("%s: %s %v", name, text, err)
	}
	return out.Notes
}

func TestGoSDKRegistersAndStepsUp(t *testing.T) {
	w := start(t, nil)
	c := w.connect(nil)
	if got := c.call(t, "list_notes", nil); len(got) != 0 {
		t.Errorf("notes %q", got)
	}
	registrations := w.to("/oidc/register")
	if len(registrations) != 1 || registrations[0].status != http.StatusCreated {
		t.Fatalf("%+v", registrations)
	}
	golden(t, "go-registration.json", registrations[0].body)
	golden(t, "go-requests.json", w.shapes(c.opened[0], w.to("/oauth/token")))
	if len(c.opened) != 1 || !strings.HasPrefix(c.opened[0].Get("client_id"), "tpc_") {
		t.Errorf("authorization requests %v", c.opened)
	}
	if got := c.call(t, "add_note", map[string]any{"text": "from Go"}); cmp.Diff([]string{"from Go"}, got) != "" {
		t.Errorf("notes %q", got)
	}
	if len(c.opened) != 2 {
		t.Fatalf("%d authorization requests", len(c.opened))
	}
	asked := strings.Fields(c.opened[1].Get("scope"))
	slices.Sort(asked)
	if diff := cmp.Diff([]string{"notes:read", "notes:write", "offline_access"}, asked); diff != "" {
		t.Errorf("step-up asks for %q", asked)
	}
	if got := c.call(t, "list_notes", nil); cmp.Diff([]string{"from Go"}, got) != "" {
		t.Errorf("notes %q", got)
	}
}

func TestTokensAreForThisServerAlone(t *testing.T) {
	w := start(t, nil)
	c := w.connect(nil)
	source, err := c.handler.TokenSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	send := func(authorization string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, w.base+mcpPath, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_notes"}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	pointer := `resource_metadata="` + w.base + `/.well-known/oauth-protected-resource/mcp"`
	for name, c := range map[string]struct {
		authorization, challenge string
	}{
		"nothing":           {"", `scope="notes:read", ` + pointer},
		"a made-up token":   {"Bearer a.b.c", `error="invalid_token"`},
		"a changed token":   {"Bearer " + tok.AccessToken + "x", `error="invalid_token"`},
		"another kind":      {"Basic " + tok.AccessToken, pointer},
		"the refresh token": {"Bearer " + tok.RefreshToken, `error="invalid_token"`},
	} {
		res := send(c.authorization)
		if got := res.Header.Get("WWW-Authenticate"); res.StatusCode != http.StatusUnauthorized || !strings.Contains(got, c.challenge) || !strings.Contains(got, pointer) {
			t.Errorf("%s: %d %s", name, res.StatusCode, got)
		}
	}
	if res := send("Bearer " + tok.AccessToken); res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
		t.Errorf("the token itself: %d", res.StatusCode)
	}
	// A token without resource would be for the default audience; one for another
	// resource does not exist.
	redeemed := w.to("/oauth/token")
	if len(redeemed) != 1 || redeemed[0].form.Get("resource") != w.base+mcpPath {
		t.Errorf("%+v", redeemed)
	}
}

// An application that publishes its metadata needs no registration.
func TestGoSDKPublishesItsMetadata(t *testing.T) {
	var document string
	publisher := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, document)
	}))
	defer publisher.Close()
	id := publisher.URL + "/client.json"
	document = fmt.Sprintf(`{"client_id":%q,"client_name":"Published client","redirect_uris":[%q],"token_endpoint_auth_method":"none",`+
		`"grant_types":["authorization_code","refresh_token"]}`, id, redirectURL)
	w := start(t, func(cfg *opkit.Config) {
		cfg.Outbound.InsecureAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		cfg.Outbound.RootCAs = publisher.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	})
	c := w.connect(func(cfg *auth.AuthorizationCodeHandlerConfig) {
		cfg.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: id}
	})
	if got := c.call(t, "add_note", map[string]any{"text": "published"}); cmp.Diff([]string{"published"}, got) != "" {
		t.Errorf("notes %q", got)
	}
	if len(w.to("/oidc/register")) != 0 || len(c.opened) != 2 || c.opened[0].Get("client_id") != id {
		t.Errorf("%v", c.opened)
	}
}

// The TypeScript SDK, which most clients and the MCP Inspector are built on.
func TestTypeScriptSDK(t *testing.T) {
	for _, way := range []string{"registers", "publishes its metadata"} {
		t.Run(way, func(t *testing.T) {
			var id string
			var change func(*opkit.Config)
			if way != "registers" {
				publisher := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Content-Type", "application/json")
					fmt.Fprintf(rw, `{"client_id":%q,"client_name":"TypeScript client","redirect_uris":[%q],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`, id, redirectURL)
				}))
				defer publisher.Close()
				id = publisher.URL + "/client.json"
				change = func(cfg *opkit.Config) {
					cfg.Outbound.InsecureAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
					cfg.Outbound.RootCAs = publisher.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				}
			}
			w := start(t, change)
			person := browser.New(http.DefaultTransport, redirectURL)
			args := []string{w.base + mcpPath, redirectURL}
			if id != "" {
				args = append(args, id)
			}
			said := node(t, "client.mjs", args, func(message map[string]any) string {
				if client, ok := message["forget"].(string); ok {
					if err := w.provider.Clients().DeleteClient(t.Context(), tenant.DefaultID, client); err != nil {
						t.Error(err)
					}
					return "forgotten"
				}
				address, ok := message["open"].(string)
				if !ok {
					return ""
				}
				at, err := w.allow(person, address)
				if err != nil {
					t.Error(err)
					return redirectURL
				}
				return at
			})
			opened := 0
			var last map[string]any
			for _, message := range said {
				if _, ok := message["open"]; ok {
					opened++
				}
				last = message
			}
			has := func(want map[string]any) {
				t.Helper()
				if !slices.ContainsFunc(said, func(m map[string]any) bool { return cmp.Equal(want, m) }) {
					t.Errorf("it never said %v, but %v", want, said)
				}
			}
			has(map[string]any{"tools": []any{"add_note", "list_notes"}})
			has(map[string]any{"before": map[string]any{"notes": []any{}}})
			has(map[string]any{"after": map[string]any{"notes": []any{"from TypeScript"}}})
			has(map[string]any{"refreshed": map[string]any{"notes": []any{"from TypeScript"}}})
			authorizations, registered := 3, 0
			if id == "" {
				// Two clients, and one of them again after it was forgotten.
				authorizations, registered = 4, 3
				has(map[string]any{"invalidated": "all"})
				has(map[string]any{"again": map[string]any{"notes": []any{"from TypeScript"}}})
			}
			if opened != authorizations || last["done"] != true {
				t.Errorf("%d authorizations, then %v", opened, last)
			}
			registrations := w.to("/oidc/register")
			if len(registrations) != registered {
				t.Fatalf("%+v", registrations)
			}
			redeemed := w.to("/oauth/token")
			if id == "" {
				golden(t, "typescript-registration.json", registrations[0].body)
				golden(t, "typescript-requests.json", w.shapes(w.to("/authorize")[0].query, redeemed))
			}
			refreshed, refused := 0, 0
			for _, r := range redeemed {
				switch {
				case r.status == http.StatusUnauthorized && r.form.Get("grant_type") == "refresh_token":
					refused++ // of the client that was forgotten
				case r.status != http.StatusOK:
					t.Errorf("%+v", r)
				case r.form.Get("grant_type") == "refresh_token":
					refreshed++
				}
			}
			if refreshed == 0 || refused != registered/3 {
				t.Errorf("%d tokens were refreshed, %d were not", refreshed, refused)
			}
		})
	}
}

// shapes returns an authorization request, and the first token request of each grant
// type, without what differs from run to run.
func (w *world) shapes(authorization url.Values, redeemed []recorded) string {
	w.t.Helper()
	plain := func(values url.Values) map[string]string {
		shape := map[string]string{}
		for name := range values {
			switch value := values.Get(name); name {
			case "client_id", "client_secret", "code", "code_challenge", "code_verifier", "refresh_token", "state":
				shape[name] = "*"
			case "scope": // in no particular order
				scopes := strings.Fields(value)
				slices.Sort(scopes)
				shape[name] = strings.Join(scopes, " ")
			default:
				shape[name] = strings.ReplaceAll(value, w.base, "http://server")
			}
		}
		return shape
	}
	all := map[string]map[string]string{"authorize": plain(authorization)}
	for _, r := range redeemed {
		if grant := r.form.Get("grant_type"); all[grant] == nil {
			all[grant] = plain(r.form)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// golden compares what a client sent with what it is known to send.
func golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(want, &a), json.Unmarshal([]byte(got), &b)); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s: the client sends something else now, %s\n%s", name, got, diff)
	}
}

var modules struct {
	sync.Once
	dir string
	err error
}

// node runs a client of testdata. answer is called with each message, and what it
// returns, unless it is empty, is what the client reads.
func node(t *testing.T, client string, args []string, answer func(map[string]any) string) []map[string]any {
	t.Helper()
	tool.Need(t, "node")
	tool.Need(t, "npm")
	modules.Do(func() {
		if modules.dir, modules.err = os.MkdirTemp("", "opkit-mcp-"); modules.err != nil {
			return
		}
		if modules.err = os.CopyFS(modules.dir, os.DirFS("testdata/npm")); modules.err != nil {
			return
		}
		modules.err = tool.InstallPackages(modules.dir)
	})
	if modules.err != nil {
		tool.NotRun(t, modules.err.Error())
	}
	script, err := os.ReadFile(filepath.Join("testdata", client))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(modules.dir, client)
	if err := os.WriteFile(file, script, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{file}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []map[string]any
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var message map[string]any
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			t.Errorf("%s: %v", lines.Bytes(), err)
			continue
		}
		said = append(said, message)
		if line := answer(message); line != "" {
			if _, err := fmt.Fprintln(in, line); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the client ended with %v\n%s\nafter %v", err, stderr.String(), said)
	}
	return said
}

func TestMain(m *testing.M) {
	code := m.Run()
	if modules.dir != "" {
		os.RemoveAll(modules.dir)
	}
	os.Exit(code)
}
