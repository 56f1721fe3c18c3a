package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opkit/opkit/examples/internal/browser"
)

// tokens is the answer of the token endpoint.
type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	Error        string `json:"error"`
}

const (
	offlineRegistration = `{"client_name":"My Dynamic Client","redirect_uris":["https://client.example.com/callback"],"grant_types":["authorization_code","refresh_token"]}`
	offlineScope        = "openid profile email offline_access"
)

// Whatever was answered is still so after the process was killed: registrations,
// sessions, consent, codes, refresh tokens, keys.
func TestWhatWasAnsweredSurvivesBeingKilled(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "-ready", "-app-addr", "")
	again := func() *walk { // the same command again, at the same place
		t.Helper()
		p.kill(t)
		p = start(t, dir, "-addr", p.host(), "-issuer", p.Issuer, "-app-addr", "")
		return p.walk(t, http.DefaultTransport)
	}
	first := p.state
	w := p.walk(t, http.DefaultTransport)
	keys := keyIDs(t, w)
	var app registered
	if _, err := w.send(t.Context(), http.MethodPost, "/oidc/register", "", offlineRegistration, &app); err != nil {
		t.Fatal(err)
	}

	w = again() // the registration survives
	if p.state != first {
		t.Errorf("after a restart: %+v\nbefore: %+v", p.state, first)
	}
	if after := keyIDs(t, w); !slices.Equal(keys, after) {
		t.Errorf("keys after a restart: %q, before: %q", after, keys)
	}
	b := browser.New(http.DefaultTransport, pageCallback)
	code := authorize(t, w, b, app, true)

	w = again() // the code, the session and the grant survive
	status, got := redeem(t, w, app, code)
	if status != http.StatusOK || got.RefreshToken == "" {
		t.Fatalf("redeeming a code after a restart: %d %+v", status, got)
	}

	w = again() // that the code is used up survives, and so do the tokens
	var userInfo map[string]any
	resp, err := w.get(t.Context(), joinURL(w.Issuer, "/userinfo"), got.AccessToken, &userInfo)
	if err != nil || resp.StatusCode != http.StatusOK || userInfo["email"] != p.User {
		t.Errorf("userinfo after a restart: %v %v", err, userInfo)
	}
	status, next := refresh(t, w, app, got.RefreshToken)
	if status != http.StatusOK {
		t.Fatalf("refreshing after a restart: %d %+v", status, next)
	}
	second := authorize(t, w, b, app, false) // without login or consent

	w = again()
	if status, replayed := redeem(t, w, app, code); status != http.StatusBadRequest || replayed.Error != "invalid_grant" {
		t.Errorf("a used code after a restart: %d %+v", status, replayed)
	}
	if status, revoked := refresh(t, w, app, next.RefreshToken); status != http.StatusBadRequest || revoked.Error != "invalid_grant" {
		t.Errorf("the refresh token of a replayed code: %d %+v", status, revoked)
	}
	if status, other := redeem(t, w, app, second); status != http.StatusOK {
		t.Errorf("another code of the same grant: %d %+v", status, other)
	}
}

// Two processes serve one file. Of 8 concurrent redemptions of one code exactly
// one wins, and since the others replayed it, its tokens are revoked.
func TestOneCodeIsRedeemedOnceByTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "-ready", "-app-addr", "")
	other := start(t, dir, "-issuer", p.Issuer, "-app-addr", "")
	// The second one is reached as if both stood behind one name.
	second := hostTransport(boundAddress(t, other), p.host())
	nodes := []*walk{p.walk(t, http.DefaultTransport), p.walk(t, second)}

	var app registered
	if _, err := nodes[1].send(t.Context(), http.MethodPost, "/oidc/register", "", offlineRegistration, &app); err != nil || app.ClientSecret == nil {
		t.Fatalf("registering at the second process: %v", err)
	}
	b := browser.New(http.DefaultTransport, pageCallback)
	for round := range 10 {
		code := authorize(t, nodes[0], b, app, round == 0)
		var (
			begin   = make(chan struct{})
			all     sync.WaitGroup
			results [8]struct {
				status int
				tokens tokens
			}
		)
		for i := range results {
			all.Go(func() {
				<-begin
				results[i].status, results[i].tokens = redeem(t, nodes[i%2], app, code)
			})
		}
		close(begin)
		all.Wait()
		var winners []tokens
		for _, r := range results {
			switch {
			case r.status == http.StatusOK:
				winners = append(winners, r.tokens)
			case r.status != http.StatusBadRequest || r.tokens.Error != "invalid_grant":
				t.Errorf("a loser was answered %d %+v", r.status, r.tokens)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("round %d: %d of %d redemptions won", round, len(winners), len(results))
		}
		for i, node := range nodes {
			resp, err := node.get(t.Context(), joinURL(node.Issuer, "/userinfo"), winners[0].AccessToken, nil)
			if err != nil || resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("process %d: the access token of a replayed code: %v %v", i, resp, err)
			}
			if status, got := refresh(t, node, app, winners[0].RefreshToken); status != http.StatusBadRequest {
				t.Errorf("process %d: the refresh token of a replayed code: %d %+v", i, status, got)
			}
		}
	}
}

// Two processes that start at the same time on new data agree on everything.
func TestTwoProcessesStartOnNewData(t *testing.T) {
	for range 3 {
		dir := t.TempDir()
		const issuer = "http://127.0.0.1:1"
		both := []*process{launch(t, dir, "-issuer", issuer, "-app-addr", ""), launch(t, dir, "-issuer", issuer, "-app-addr", "")}
		for _, p := range both {
			p.ready(t)
			p.ListenURL = "" // the only difference
		}
		if both[0].state != both[1].state {
			t.Errorf("one says %+v\nthe other %+v", both[0].state, both[1].state)
		}
		for _, p := range both {
			p.kill(t)
		}
	}
}

// boundAddress returns where a process listens whose issuer is another's.
func boundAddress(t *testing.T, p *process) string {
	t.Helper()
	found := strings.TrimPrefix(p.ListenURL, "http://")
	if found == "" {
		t.Fatal("the state file has no listen_url")
	}
	return found
}

// hostTransport sends requests for host to address.
func hostTransport(address, host string) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Host, r.URL.Host = host, address
		return http.DefaultTransport.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// authorize gets a code. asked says whether login and consent must come up.
func authorize(t *testing.T, w *walk, b *browser.Browser, app registered, asked bool) string {
	t.Helper()
	checks := w.checks
	answer, err := w.signIn(t.Context(), b, app, url.Values{
		"response_type": {"code"}, "scope": {offlineScope}, "audience": nil,
	}, asked)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Get("code") == "" || w.failures > 0 || asked != (w.checks > checks) {
		t.Fatalf("authorization response: %v", answer)
	}
	return answer.Get("code")
}

func redeem(t *testing.T, w *walk, app registered, code string) (int, tokens) {
	return askTokens(t, w, app, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {pageCallback}})
}

func refresh(t *testing.T, w *walk, app registered, refreshToken string) (int, tokens) {
	return askTokens(t, w, app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

// askTokens calls the token endpoint. It is used by several goroutines at once.
func askTokens(t *testing.T, w *walk, app registered, form url.Values) (int, tokens) {
	form.Set("client_id", app.ClientID)
	form.Set("client_secret", *app.ClientSecret)
	var got tokens
	resp, err := w.post(t.Context(), "/oauth/token", form, &got)
	if err != nil {
		t.Error(err)
		return 0, tokens{}
	}
	return resp.StatusCode, got
}

func keyIDs(t *testing.T, w *walk) []string {
	t.Helper()
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	get(t, w, "/.well-known/jwks.json", "", &set)
	var ids []string
	for _, key := range set.Keys {
		if key["d"] != nil {
			t.Error("a private key is published")
		}
		ids = append(ids, string(key["kid"]))
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		t.Error("there are no keys")
	}
	return ids
}

// Ctrl-C finishes what is in progress and ends with success.
func TestInterruptEndsCleanly(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if !strings.Contains(p.rest.String(), "Stopping.") {
		t.Errorf("after Ctrl-C it printed %q", p.rest.String())
	}
	// Closed in order, SQLite leaves no log behind.
	if _, err := os.Stat(filepath.Join(dir, "quickstart.db-wal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the database was not closed: %v", err)
	}
	if exit := (*exec.ExitError)(nil); errors.As(p.err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Error("the signal ended the process, not the process itself")
	}
}

// Data of a version whose management API knew fewer scopes: the management client, and
// the console that calls as it, may use all of what there is now.
func TestTheManagementClientKeepsUpWithItsAPI(t *testing.T) {
	dir := t.TempDir()
	scopes := func(w *walk, change string) int {
		t.Helper()
		token, err := w.managementToken(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var grants []struct {
			ID    string   `json:"id"`
			Scope []string `json:"scope"`
		}
		if _, err := w.get(t.Context(), joinURL(w.Issuer, "/api/v2/client-grants?client_id="+w.MgmtClientID), token, &grants); err != nil || len(grants) != 1 {
			t.Fatalf("%+v %v", grants, err)
		}
		if change != "" {
			resp, err := w.send(t.Context(), http.MethodPatch, "/api/v2/client-grants/"+grants[0].ID, token, change, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%v %v", resp, err)
			}
		}
		return len(grants[0].Scope)
	}
	p := start(t, dir, "-app-addr", "")
	node := p.walk(t, http.DefaultTransport)
	all := scopes(node, `{"scope":["read:client_grants"]}`)
	if fewer := scopes(node, ""); all < 20 || fewer != 1 {
		t.Fatalf("%d scopes, then %d", all, fewer)
	}
	other := start(t, dir, "-issuer", p.Issuer, "-app-addr", "")
	if again := scopes(other.walk(t, hostTransport(boundAddress(t, other), p.host())), ""); again != all {
		t.Errorf("%d scopes of %d", again, all)
	}
}
