package opkit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// The benchmark runs this test binary again as a server, so that what it measures
// is the server's CPU time without the client's.
func TestMain(m *testing.M) {
	switch os.Getenv("OPKIT_BENCH_SERVER") {
	case "floor":
		serveBench(func(string) http.Handler { return floorHandler() })
	case "opkit":
		serveBench(benchProvider)
	default:
		os.Exit(m.Run())
	}
}

// serveBench serves until standard input ends.
func serveBench(handler func(issuer string) http.Handler) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler("http://"+listener.Addr().String()))
	mux.HandleFunc("/cpu", func(w http.ResponseWriter, r *http.Request) {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			panic(err)
		}
		fmt.Fprint(w, usage.Utime.Nano()+usage.Stime.Nano())
	})
	go http.Serve(listener, mux)
	fmt.Println("http://" + listener.Addr().String())
	io.Copy(io.Discard, os.Stdin)
}

const (
	benchClient = "bench"
	benchSecret = "a-secret-of-the-benchmark-client-with-enough-length"
)

// benchProvider is a provider on memstore in which the host application has
// signed a user in: no password hash is part of the figures.
func benchProvider(issuer string) http.Handler {
	ctx := context.Background()
	stores := memstore.New().Stores()
	now := time.Now().UTC()
	p, err := opkit.New(opkit.Config{
		Issuer: issuer, Stores: stores, Secret: bytes.Repeat([]byte{7}, 32),
		Settings: store.TenantSettings{
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
			Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: true},
		},
		Hosts: map[string]connection.Host{"host": {
			Current: func(*http.Request) (connection.Identity, bool, error) {
				return connection.Identity{UserID: "user", AuthenticatedAt: now}, true, nil
			},
			Login: func(_ *http.Request, l connection.LoginRequest) (string, error) { return l.ReturnTo, nil },
		}},
	})
	must(err)
	host, err := p.Connections().Create(ctx, store.Connection{TenantID: tenant.DefaultID, Name: "host", Strategy: connection.StrategyHost, IsDomainConnection: true, EnabledClients: []string{benchClient, benchClient + "rs"}})
	must(err)
	must(stores.UserAdmin.CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ID: "user", ConnectionID: host.ID, Email: "ada@example.com", EmailVerified: true,
		Profile: store.Profile{Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace"}, CreatedAt: now, UpdatedAt: now,
	}))
	for suffix, alg := range map[string]string{"": "ES256", "rs": "RS256"} {
		must(stores.Clients.CreateClient(ctx, store.Client{
			TenantID: tenant.DefaultID, ID: benchClient + suffix, Name: "Bench", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
			SecretDigest: store.DigestOf(benchSecret), RedirectURIs: []string{appRedirectURI},
			GrantTypes: []string{"authorization_code", "refresh_token", "client_credentials"},
			Metadata:   &store.ClientMetadata{IDTokenSignedResponseAlg: alg}, CreatedAt: now,
		}))
	}
	for _, alg := range []string{"ES256", "RS256"} {
		_, err = p.Tenants().CreateAPI(ctx, store.API{TenantID: tenant.DefaultID, Audience: "api:" + alg, SigningAlgorithm: alg, UserPolicy: store.PolicyAllowAll, Scopes: []store.APIScope{{Value: "read"}}})
		must(err)
		_, err = p.Tenants().CreateClientGrant(ctx, store.ClientGrant{TenantID: tenant.DefaultID, ClientID: benchClient, Audience: "api:" + alg, SubjectType: store.SubjectClient, Scopes: []string{"read"}})
		must(err)
	}
	return p
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// benchServer is a server in a process of its own.
type benchServer struct {
	b      *testing.B
	url    string
	client *http.Client

	cookie          string // of a session
	access, refresh string // tokens
}

// startBenchServer starts a server of this kind from a test binary of this package,
// this one if its name is empty.
func startBenchServer(b *testing.B, executable, kind string) *benchServer {
	b.Helper()
	if executable == "" {
		var err error
		if executable, err = os.Executable(); err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), "OPKIT_BENCH_SERVER="+kind)
	cmd.Stderr = b.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return &benchServer{b: b, url: strings.TrimSpace(line), client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *benchServer) do(req *http.Request) (*http.Response, []byte) {
	s.b.Helper()
	res, err := s.client.Do(req)
	if err != nil {
		s.b.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.b.Fatal(err)
	}
	if res.StatusCode >= 400 {
		s.b.Fatalf("%s: %d %s", req.URL, res.StatusCode, body)
	}
	return res, body
}

func (s *benchServer) get(target string, header ...string) (*http.Response, []byte) {
	s.b.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.url + target
	}
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		s.b.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	return s.do(req)
}

func (s *benchServer) post(path, contentType, body string) (*http.Response, []byte) {
	s.b.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.b.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return s.do(req)
}

func (s *benchServer) form(path string, pairs ...string) []byte {
	s.b.Helper()
	v := url.Values{"client_id": {benchClient}, "client_secret": {benchSecret}}
	for pair := range slices.Chunk(pairs, 2) {
		v.Set(pair[0], pair[1])
	}
	_, body := s.post(path, "application/x-www-form-urlencoded", v.Encode())
	return body
}

func (s *benchServer) cpu() time.Duration {
	s.b.Helper()
	_, body := s.get("/cpu")
	var n int64
	if _, err := fmt.Sscan(string(body), &n); err != nil {
		s.b.Fatal(err)
	}
	return time.Duration(n)
}

// measure returns the server's CPU time per operation.
func (s *benchServer) measure(n int, operation func(*benchServer)) float64 {
	before := s.cpu()
	for range n {
		operation(s)
	}
	return float64(s.cpu()-before) / float64(n) / 1e3
}

func authorizeQuery(client string) string {
	return "/authorize?" + url.Values{
		"client_id": {client}, "redirect_uri": {appRedirectURI}, "response_type": {"code"}, "scope": {"openid profile email"},
		"state": {"af0ifjsldkj"}, "nonce": {"n-0S6_WzA2Mj"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}.Encode()
}

func (s *benchServer) redeem(location, client string) []byte {
	s.b.Helper()
	u, err := url.Parse(location)
	if err != nil || u.Query().Get("code") == "" {
		s.b.Fatalf("no code: %s", location)
	}
	return s.form("/oauth/token", "client_id", client, "grant_type", "authorization_code", "code", u.Query().Get("code"),
		"redirect_uri", appRedirectURI, "code_verifier", verifier)
}

// login has a user signed in and returns the answer with the code.
func (s *benchServer) login() *http.Response {
	s.b.Helper()
	res, _ := s.get(authorizeQuery(benchClient))
	for _, c := range res.Cookies() {
		if c.Name == "opkit_session" {
			s.cookie = c.Name + "=" + c.Value
		}
	}
	return res
}

// keep keeps the tokens of a response for the next request.
func (s *benchServer) keep(body []byte) {
	s.b.Helper()
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &tokens); err != nil {
		s.b.Fatal(err)
	}
	s.access, s.refresh = tokens.Access, tokens.Refresh
}

// BenchmarkEndpoints prints the server's CPU time per operation beside the floor's,
// measured in interleaved rounds:
//
//	go test -run '^$' -bench Endpoints .
//
// An earlier version of opkit, or one without a change, runs in the same rounds if
// OPKIT_BENCH_OLD names its test binary (go test -c). Runs one after the other differ
// by more than most changes make.
func BenchmarkEndpoints(b *testing.B) {
	floor, ours := startBenchServer(b, "", "floor"), startBenchServer(b, "", "opkit")
	servers := []*benchServer{ours}
	if old := os.Getenv("OPKIT_BENCH_OLD"); old != "" {
		servers = append(servers, startBenchServer(b, old, "opkit"))
	}
	const registration = `{"client_name":"My Dynamic Client","redirect_uris":["https://client.example.com/callback","https://client.example.com/callback2"]}`

	for _, s := range servers {
		s.keep(s.redeem(s.login().Header.Get("Location"), benchClient))
	}
	floor.access = ours.access
	floorToken := func(path string) func(*benchServer) { return func(s *benchServer) { s.form(path, "grant_type", "x") } }
	floorCode := func(path string) func(*benchServer) {
		return func(s *benchServer) {
			s.get("/redirect" + strings.TrimPrefix(authorizeQuery(benchClient), "/authorize"))
			s.form(path, "grant_type", "authorization_code", "code", "x", "redirect_uri", appRedirectURI, "code_verifier", verifier)
		}
	}
	withSession := func(client string) func(*benchServer) {
		return func(s *benchServer) {
			res, _ := s.get(authorizeQuery(client), "Cookie", s.cookie)
			s.redeem(res.Header.Get("Location"), client)
		}
	}
	for _, tc := range []struct {
		name   string
		budget float64
		floor  func(*benchServer)
		ours   func(*benchServer)
	}{
		{"discovery", 1.1, func(s *benchServer) { s.get("/discovery") }, func(s *benchServer) { s.get("/.well-known/openid-configuration") }},
		{"jwks", 1.1, func(s *benchServer) { s.get("/discovery") }, func(s *benchServer) { s.get("/.well-known/jwks.json") }},
		{"register", 1.5, func(s *benchServer) { s.post("/register", "application/json", registration) },
			func(s *benchServer) { s.post("/oidc/register", "application/json", registration) }},
		{"client_credentials/opaque", 1.45, floorToken("/opaque"), func(s *benchServer) {
			s.form("/oauth/token", "grant_type", "client_credentials")
		}},
		{"client_credentials/jwt", 1.2, floorToken("/es256"), func(s *benchServer) {
			s.form("/oauth/token", "grant_type", "client_credentials", "audience", "api:ES256")
		}},
		{"client_credentials/rs256", 1.05, floorToken("/rs256"), func(s *benchServer) {
			s.form("/oauth/token", "grant_type", "client_credentials", "audience", "api:RS256")
		}},
		{"code/new-session", 1.33, floorCode("/es256"), func(s *benchServer) { s.redeem(s.login().Header.Get("Location"), benchClient) }},
		{"code/session", 1.3, floorCode("/es256"), withSession(benchClient)},
		{"code/session-rs256", 1.05, floorCode("/rs256"), withSession(benchClient + "rs")},
		{"refresh", 1.2, floorToken("/es256"), func(s *benchServer) {
			s.keep(s.form("/oauth/token", "grant_type", "refresh_token", "refresh_token", s.refresh))
		}},
		{"userinfo", 1.25, func(s *benchServer) { s.get("/userinfo", "Authorization", "Bearer "+s.access) },
			func(s *benchServer) { s.get("/userinfo", "Authorization", "Bearer "+s.access) }},
		{"introspection", 1.3, func(s *benchServer) { s.form("/introspect", "token", s.access) },
			func(s *benchServer) { s.form("/oauth/introspect", "token", s.access) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			figures := make([][]float64, 1+len(servers)) // of the floor, of this version, of the old one
			round := func(n int) {
				for i, s := range append([]*benchServer{floor}, servers...) {
					s.b = b
					operation := tc.ours
					if s == floor {
						operation = tc.floor
					}
					figures[i] = append(figures[i], s.measure(n, operation))
				}
			}
			round(20)
			clear(figures)
			for b.Loop() {
				round(100)
			}
			median := func(i int) float64 {
				slices.Sort(figures[i])
				return figures[i][len(figures[i])/2]
			}
			f, o := median(0), median(1)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(f, "floor-µs")
			b.ReportMetric(o, "opkit-µs")
			b.ReportMetric(o/f, "×floor")
			if len(servers) > 1 {
				b.ReportMetric(o/median(2), "×old")
			}
			b.ReportMetric(tc.budget, "budget")
		})
	}
}
