package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/examples/internal/chromium"
	"github.com/opkit/opkit/examples/internal/tool"
)

// A release of Lock, as the page asks for it. Which packages it is made of is locked in
// testdata: on the registry Lock is in many files, which have to be bundled, and the
// version of the reference page was written for another React than its package accepts
// by now.
type release struct {
	name string

	once sync.Once
	file string
	err  error
}

var (
	lock10 = &release{name: "lock-10.7"}
	lock14 = &release{name: "lock-14"}
)

// install fetches the packages that a directory of testdata locks, and returns where they
// are.
func install(name string) (dir string, err error) {
	dir = filepath.Join(bundles, name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		return "", err
	}
	return dir, tool.InstallPackages(dir)
}

// bundle returns the file that the page would get from the content delivery network.
func (l *release) bundle(t *testing.T) string {
	t.Helper()
	tool.Need(t, "npm")
	l.once.Do(func() {
		var dir string
		if dir, l.err = install(l.name); l.err != nil {
			return
		}
		modules := filepath.Join(dir, "node_modules")
		if l.err = unmark(filepath.Join(modules, "auth0-js", "package.json")); l.err != nil {
			return
		}
		l.file = filepath.Join(dir, "lock.min.js")
		build := []string{filepath.Join(modules, "auth0-lock/lib/browser.js"), "--bundle", "--minify", "--format=iife", "--main-fields=browser,main", "--banner:js=var process={env:{},nextTick:(f,...a)=>setTimeout(f,0,...a)};", "--define:global=window",
			`--define:process.env.NODE_ENV="production"`, "--outfile=" + l.file, "--log-level=error"}
		out, err := exec.Command(filepath.Join(modules, ".bin/esbuild"), build...).CombinedOutput()
		if err != nil {
			l.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if l.err != nil {
		tool.NotRun(t, "Lock could not be made: "+l.err.Error())
	}
	return l.file
}

// unmark removes a package's word that its files are modules, where they are scripts
// for every loader: a bundler would believe it.
func unmark(manifest string) error {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(manifest, []byte(strings.Replace(string(text), `"type": "module",`, "", 1)), 0o600)
}

// bundles is where they are kept while the tests run.
var bundles string

func TestMain(m *testing.M) {
	var err error
	if bundles, err = os.MkdirTemp("", "hosted-login"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(bundles)
	os.Exit(code)
}

// A site is the provider, the content delivery network, and a browser that finds both.
type site struct {
	t        *testing.T
	provider *opkit.Provider
	issuer   string
	mails    chan authorize.Mail
	client   *http.Client
	tab      context.Context
}

func newSite(t *testing.T, l *release, page string, width, height int) *site {
	t.Helper()
	l.bundle(t) // a test that cannot run begins nothing
	s := newProviderSite(t, page)
	s.browse(l, width, height)
	return s
}

// browse starts the browser, and the network that it gets Lock from.
func (s *site) browse(l *release, width, height int) {
	t := s.t
	t.Helper()
	file := l.bundle(t)
	cdn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "cdn.auth0.com" || !strings.HasSuffix(r.URL.Path, "/lock.min.js") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/javascript")
		http.ServeFile(w, r, file)
	}))
	t.Cleanup(cdn.Close)
	s.tab = chromium.StartResolving(t, width, height, "MAP cdn.auth0.com:443 "+strings.TrimPrefix(cdn.URL, "https://"))
	s.listen()
}

// newProviderSite starts the provider alone.
func newProviderSite(t *testing.T, page string) *site {
	t.Helper()
	return newSiteOf(t, func(s *site, logger *slog.Logger) (*opkit.Provider, error) {
		return newProvider(t.Context(), s.issuer, page, s.receive, logger)
	})
}

// newSiteOf starts a provider that build made for the issuer of the site.
func newSiteOf(t *testing.T, build func(*site, *slog.Logger) (*opkit.Provider, error)) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, mails: make(chan authorize.Mail, 10), issuer: "https://" + listener.Addr().String() + "/"}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.provider, err = build(s, logger); err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: s.provider, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.client = server.Client()
	s.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return s
}

func (s *site) receive(_ context.Context, m authorize.Mail) error {
	s.mails <- m
	return nil
}

// listen logs the errors on the console.
func (s *site) listen() {
	ctx, cancel := context.WithCancel(s.tab)
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == "error" || m.IsException() {
				s.t.Logf("console: %s: %s", m.URL, m.Text)
			}
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// register registers an application as the reference page does.
func (s *site) register() (id, redirectURI string) {
	s.t.Helper()
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<!doctype html><title>Application</title><h1 id="application">Application</h1>`)
	}))
	s.t.Cleanup(app.Close)
	redirectURI = app.URL + "/callback"
	return s.registerApplication(map[string]any{"client_name": "My Dynamic Client", "redirect_uris": []string{redirectURI}}), redirectURI
}

func (s *site) registerApplication(metadata map[string]any) (id string) {
	s.t.Helper()
	body, err := json.Marshal(metadata)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.client.Post(s.issuer+"oidc/register", "application/json", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		ID string `json:"client_id"`
	}
	decode(s.t, res.Body, &out)
	return out.ID
}

// authorize opens the page of the reference page's example request.
func (s *site) authorize(id, redirectURI string) {
	s.t.Helper()
	v := url.Values{"scope": {"openid profile"}, "response_type": {"id_token token"}, "client_id": {id}, "redirect_uri": {redirectURI}, "nonce": {"n-1"}, "state": {"opaque"}}
	chromium.Do(s.t, s.tab, chromedp.Navigate(s.issuer+"authorize?"+v.Encode()))
}

// arrived returns what the application received.
func (s *site) arrived() url.Values {
	s.t.Helper()
	chromium.Do(s.t, s.tab, chromedp.WaitVisible(chromedp.CSS("#consent-allow")))
	chromium.Click(s.t, s.tab, "#consent-allow")
	chromium.Do(s.t, s.tab, chromedp.WaitVisible(chromedp.CSS("#application")))
	_, fragment, _ := strings.Cut(chromium.Do(s.t, s.tab, chromedp.Location()), "#")
	v, err := url.ParseQuery(fragment)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}
