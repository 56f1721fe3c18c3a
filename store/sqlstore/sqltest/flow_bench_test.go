package sqltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/tenant"
)

const (
	flowClients  = 8 // at once
	flowRedirect = "https://app.example.com/callback"
	flowSecret   = "a-secret-of-the-benchmark-client-with-enough-length"
	flowVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// flowWorld is a provider on PostgreSQL with a user for each client of the
// benchmark, who is signed in at the host.
type flowWorld struct {
	tb         testing.TB
	server     *pgtest.Server
	database   string
	handler    http.Handler
	calls      countedCalls
	statements statements
	trips      atomic.Int64
	// What each user's browser and application keep.
	cookies, refresh [flowClients]string
}

// countedConn counts requests to the server: pgx sends each with one write.
type countedConn struct {
	net.Conn
	trips *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.trips.Add(1)
	return c.Conn.Write(b)
}

// statements remembers what one operation ran.
type statements struct {
	recording bool // while nothing runs at the same time
	ran       []statement
}

type statement struct {
	text string
	args []any
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if s.recording {
		s.ran = append(s.ran, statement{data.SQL, withoutOptions(data.Args)})
	}
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func newFlowWorld(b *testing.B) *flowWorld {
	b.Helper()
	w := &flowWorld{tb: b, server: pgtest.Start(b)}
	w.server.Set(b, "fsync", "on")
	w.server.Set(b, "full_page_writes", "on")
	w.database = w.server.NewDatabase(b)
	config, err := pgx.ParseConfig(w.server.URL(w.database))
	if err != nil {
		b.Fatal(err)
	}
	config.Tracer = &w.statements
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return countedConn{conn, &w.trips}, err
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(flowClients)
	pool.SetMaxIdleConns(flowClients)
	b.Cleanup(func() { pool.Close() })
	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.PostgreSQL, Write: pool})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	stores := w.calls.stores(s.Stores())
	now := time.Now().UTC()
	p, err := opkit.New(opkit.Config{
		Issuer: "https://login.example.com", Stores: stores, Secret: bytes.Repeat([]byte{7}, 32),
		Settings: store.TenantSettings{
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
			Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: true},
		},
		Hosts: map[string]connection.Host{"host": {
			Current: func(r *http.Request) (connection.Identity, bool, error) {
				return connection.Identity{UserID: r.Header.Get("X-User"), AuthenticatedAt: now}, true, nil
			},
			Login: func(_ *http.Request, l connection.LoginRequest) (string, error) { return l.ReturnTo, nil },
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	w.handler = p
	host, err := p.Connections().Create(b.Context(), store.Connection{
		TenantID: tenant.DefaultID, Name: "host", Strategy: connection.StrategyHost,
		IsDomainConnection: true, EnabledClients: []string{"bench"},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := stores.Clients.CreateClient(b.Context(), store.Client{
		TenantID: tenant.DefaultID, ID: "bench", Name: "Bench", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		SecretDigest: store.DigestOf(flowSecret), RedirectURIs: []string{flowRedirect},
		GrantTypes: []string{"authorization_code", "refresh_token"},
		Metadata:   &store.ClientMetadata{IDTokenSignedResponseAlg: "ES256"}, CreatedAt: now,
	}); err != nil {
		b.Fatal(err)
	}
	for user := range flowClients {
		if err := stores.UserAdmin.CreateUser(b.Context(), store.User{
			TenantID: tenant.DefaultID, ID: userName(user), ConnectionID: host.ID, Email: userName(user) + "@example.com",
			CreatedAt: now, UpdatedAt: now,
		}); err != nil {
			b.Fatal(err)
		}
		w.code(user) // signs in
	}
	return w
}

func userName(user int) string { return fmt.Sprint("user", user) }

func (w *flowWorld) do(user int, method, target, contentType, body string) *http.Response {
	r := httptest.NewRequest(method, "https://login.example.com"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:1234" // registrations from elsewhere are limited
	r.Header.Set("X-User", userName(user))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if w.cookies[user] != "" {
		r.Header.Set("Cookie", w.cookies[user])
	}
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	return recorder.Result()
}

func (w *flowWorld) token(user int, form url.Values) {
	form.Set("client_id", "bench")
	form.Set("client_secret", flowSecret)
	res := w.do(user, http.MethodPost, "/oauth/token", "application/x-www-form-urlencoded", form.Encode())
	var tokens struct {
		Refresh string `json:"refresh_token"`
		Error   string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&tokens); err != nil || res.StatusCode != http.StatusOK || tokens.Refresh == "" {
		w.tb.Errorf("%s: %d %s (%v)", form.Get("grant_type"), res.StatusCode, tokens.Error, err)
	}
	w.refresh[user] = tokens.Refresh
}

// code is an authorization request and the redemption of its code.
func (w *flowWorld) code(user int) {
	sum := sha256.Sum256([]byte(flowVerifier))
	res := w.do(user, http.MethodGet, "/authorize?"+url.Values{
		"client_id": {"bench"}, "redirect_uri": {flowRedirect}, "response_type": {"code"}, "scope": {"openid profile offline_access"},
		"state": {"af0ifjsldkj"}, "nonce": {"n-0S6_WzA2Mj"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), "", "")
	for _, c := range res.Cookies() {
		if c.Name == "opkit_session" || c.Name == "__Host-opkit_session" {
			w.cookies[user] = c.Name + "=" + c.Value
		}
	}
	location, err := res.Location()
	if err != nil || location.Query().Get("code") == "" {
		w.tb.Errorf("authorize: %d to %v", res.StatusCode, location)
		return
	}
	w.token(user, url.Values{
		"grant_type": {"authorization_code"}, "code": {location.Query().Get("code")}, "redirect_uri": {flowRedirect}, "code_verifier": {flowVerifier},
	})
}

func (w *flowWorld) register(user int) {
	res := w.do(user, http.MethodPost, "/oidc/register", "application/json",
		`{"client_name":"My Dynamic Client","redirect_uris":["https://client.example.com/callback","https://client.example.com/callback2"]}`)
	if res.StatusCode != http.StatusCreated {
		w.tb.Errorf("register: %d", res.StatusCode)
	}
}

func (w *flowWorld) refreshToken(user int) {
	w.token(user, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {w.refresh[user]}})
}

// BenchmarkFlows reports what 8 clients at once get out of a provider on
// PostgreSQL with fsync, and what pgbench gets out of the same server with the
// statements that the provider ran, in the same number of clients:
//
//	go test -run '^$' -bench Flows -benchtime 3s .
func BenchmarkFlows(b *testing.B) {
	for _, flow := range []struct {
		name string
		do   func(w *flowWorld, user int)
	}{
		{"register", (*flowWorld).register},
		{"code", (*flowWorld).code}, // with a session
		{"refresh", (*flowWorld).refreshToken},
	} {
		b.Run(flow.name, func(b *testing.B) {
			w := newFlowWorld(b)
			// So that the connections have prepared their statements.
			w.concurrently(5*flowClients, flow.do)
			calls, trips := w.calls.n.Load(), w.trips.Load()
			started := time.Now()
			b.ResetTimer()
			w.concurrently(b.N, flow.do)
			b.StopTimer()
			perSecond := float64(b.N) / time.Since(started).Seconds()
			b.ReportMetric(perSecond, "ops/s")
			b.ReportMetric(float64(w.calls.n.Load()-calls)/float64(b.N), "storecalls/op")
			b.ReportMetric(float64(w.trips.Load()-trips)/float64(b.N), "roundtrips/op")
			if b.N > 1 { // the first run only finds out how many it takes
				bench := w.pgbench(b, w.script(flow.do))
				b.ReportMetric(bench, "pgbench-ops/s")
				b.ReportMetric(perSecond/bench, "×pgbench")
			}
		})
	}
}

// concurrently runs n operations, as many at once as there are users.
func (w *flowWorld) concurrently(n int, do func(w *flowWorld, user int)) {
	var next atomic.Int64
	done := make(chan struct{})
	for user := range flowClients {
		go func() {
			for next.Add(1) <= int64(n) {
				do(w, user)
			}
			done <- struct{}{}
		}()
	}
	for range flowClients {
		<-done
	}
}

// script returns what pgbench has to do to do the same as the flow, for each of its
// clients with the records of another user.
func (w *flowWorld) script(do func(w *flowWorld, user int)) string {
	var script strings.Builder
	script.WriteString("\\set n :n + 1\n")
	for user := range flowClients {
		branch := "\\elif"
		if user == 0 {
			branch = "\\if"
		}
		fmt.Fprintf(&script, "%s :client_id = %d\n", branch, user)
		first, second := w.record(do, user), w.record(do, user)
		for i, s := range second {
			for n := len(s.args); n > 0; n-- { // from $12 to $1
				s.text = strings.ReplaceAll(s.text, "$"+strconv.Itoa(n), expression(first[i].args[n-1], s.args[n-1]))
			}
			script.WriteString(strings.Join(strings.Fields(s.text), " ") + ";\n")
		}
	}
	script.WriteString("\\endif\n")
	return script.String()
}

func (w *flowWorld) record(do func(w *flowWorld, user int), user int) []statement {
	w.statements = statements{recording: true}
	do(w, user)
	w.statements.recording = false
	if len(w.statements.ran) == 0 {
		w.tb.Fatal("no statement was seen")
	}
	return w.statements.ran
}

// expression returns what pgbench has to write for an argument that was before in
// one operation and is value in the next.
func expression(before, value any) string {
	switch value := value.(type) {
	case string:
		if before != value { // the identifier of something new
			return "md5(:client_id || '-' || :n || '-' || " + strconv.Itoa(len(value)) + ")"
		}
		return literal(value)
	case int64:
		if before == value-1 { // a generation
			return "(:n + " + strconv.FormatInt(value, 10) + ")"
		}
	}
	return literal(value)
}

var transactionsPerSecond = regexp.MustCompile(`tps = ([0-9.]+) \(without`)

// pgbench returns how often a second pgbench runs a script with as many clients as
// the benchmark has.
func (w *flowWorld) pgbench(b *testing.B, script string) float64 {
	b.Helper()
	file := filepath.Join(b.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command(w.server.Program("pgbench"), "--host", w.server.Socket(), "--username", "opkit",
		"--no-vacuum", "--protocol", "prepared", "--client", strconv.Itoa(flowClients), "--jobs", strconv.Itoa(runtime.GOMAXPROCS(0)),
		"--time", "3", "--define", "n=0", "--file", file, w.database).CombinedOutput()
	match := transactionsPerSecond.FindSubmatch(out)
	if err != nil || match == nil {
		b.Fatalf("pgbench: %v\n%s\n%s", err, out, script)
	}
	perSecond, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return perSecond
}
