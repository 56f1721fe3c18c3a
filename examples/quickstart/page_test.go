package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/tool"
)

// testdata/page holds the requests of the reference documentation as it prints
// them, for each tool: three requests that open registration and use it. Only what
// the page calls placeholders is replaced. There is one correction: the page's
// Python has the host in the path, and nothing where the host belongs.

var requests = []string{"settings", "connection", "register"}

// snippet returns a request of the page with its placeholders replaced.
func snippet(t *testing.T, name string, p *process, token string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "page", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		`HTTPSConnection("")`, `HTTPSConnection("`+p.host()+`")`, `"/YOUR_AUTH0_DOMAIN/`, `"/`,
		"YOUR_AUTH0_DOMAIN", p.host(), "API2_ACCESS_TOKEN", token, "CONNECTION_ID", p.ConnectionID,
	).Replace(string(text))
}

func TestPageWithCurl(t *testing.T) {
	curl, bash := tool.Need(t, "curl"), tool.Need(t, "bash")
	_ = curl
	replay(t, func(t *testing.T, p *process, name, token string) string {
		return output(t, t.Context(), t.TempDir(), []string{"CURL_CA_BUNDLE=" + p.CAFile}, bash, "-ec", snippet(t, name+".curl", p, token))
	})
}

func TestPageWithGo(t *testing.T) {
	golang := tool.Need(t, "go")
	replay(t, func(t *testing.T, p *process, name, token string) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.go"), snippet(t, name+".go.txt", p, token))
		return output(t, t.Context(), dir, []string{"SSL_CERT_FILE=" + p.CAFile, "GOWORK=off", "GOFLAGS="}, golang, "run", "main.go")
	})
}

func TestPageWithPython(t *testing.T) {
	python := tool.Need(t, "python3")
	replay(t, func(t *testing.T, p *process, name, token string) string {
		return output(t, t.Context(), t.TempDir(), []string{"SSL_CERT_FILE=" + p.CAFile}, python, "-c", snippet(t, name+".py", p, token))
	})
}

func TestPageWithNode(t *testing.T) {
	node := tool.Need(t, "node")
	modules := nodeModules(t)
	replay(t, func(t *testing.T, p *process, name, token string) string {
		env := []string{"NODE_EXTRA_CA_CERTS=" + p.CAFile, "NODE_PATH=" + modules, "NODE_NO_WARNINGS=1"}
		return output(t, t.Context(), t.TempDir(), env, node, "-e", snippet(t, name+".node.js", p, token))
	})
}

// The page's jQuery runs in a page of another origin, so that the browser asks for
// permission first.
func TestPageWithJQuery(t *testing.T) {
	modules := nodeModules(t)
	ctx := newChromium(t, 1280, 800)
	replay(t, func(t *testing.T, p *process, name, token string) string {
		mux := http.NewServeMux()
		mux.HandleFunc("/jquery.js", func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(modules, "jquery", "dist", "jquery.min.js"))
		})
		script := snippet(t, name+".jquery.js", p, token)
		mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte(`<!doctype html><title>Another origin</title><body><script src="/jquery.js"></script><script>
$(document).ajaxComplete(function (event, xhr) {
  $("<pre id=answer>").text(xhr.status + " " + xhr.responseText).appendTo("body");
});
` + script + `</script>`))
		})
		other := httptest.NewServer(mux)
		defer other.Close()
		do(t, ctx, chromedp.Navigate(other.URL))
		answer := do(t, ctx, chromedp.Text(chromedp.CSS("#answer")))
		status, body, _ := strings.Cut(answer, " ")
		if want := map[bool]string{true: "201", false: "200"}[name == "register"]; status != want {
			t.Errorf("the script was answered %q", answer)
		}
		return body
	})
}

// replay runs the requests of the page in their order by one tool against a fresh
// quickstart, and checks what each one changed.
func replay(t *testing.T, run func(t *testing.T, p *process, name, token string) string) {
	p := start(t, t.TempDir(), "-tls", "-app-addr", "")
	w := p.walk(t, transport(t, p.CAFile))
	token, err := w.managementToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range requests {
		t.Run(name, func(t *testing.T) {
			out := run(t, p, name, token)
			t.Log(out)
			switch name {
			case "settings":
				var settings struct {
					Flags map[string]bool `json:"flags"`
				}
				get(t, w, "/api/v2/tenants/settings", token, &settings)
				if !settings.Flags["enable_dynamic_client_registration"] || !strings.Contains(out, "enable_dynamic_client_registration") {
					t.Errorf("the flag is not set: %v", settings)
				}
			case "connection":
				var connection map[string]any
				get(t, w, "/api/v2/connections/"+p.ConnectionID, token, &connection)
				if connection["is_domain_connection"] != true || !strings.Contains(out, "is_domain_connection") {
					t.Errorf("the connection is not promoted: %v", connection)
				}
			case "register":
				checkRegistered(t, p, w, out)
			}
		})
	}
}

// clientID finds the identifier in JSON and in what Node prints of an object.
var clientID = regexp.MustCompile(`"?client_id"?: ?["']([A-Za-z0-9]{32})["']`)

func checkRegistered(t *testing.T, p *process, w *walk, out string) {
	t.Helper()
	for _, member := range []string{"My Dynamic Client", "https://client.example.com/callback2", "client_secret", "client_secret_expires_at"} {
		if !strings.Contains(out, member) {
			t.Errorf("the answer lacks %s", member)
		}
	}
	found := clientID.FindStringSubmatch(out)
	if found == nil {
		t.Fatal("the answer has no client_id of 32 letters and digits")
	}
	resp, err := w.get(t.Context(), joinURL(p.Issuer, "/authorize?response_type=token&client_id="+found[1]+"&redirect_uri=https://client.example.com/callback2"), "", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the registered application cannot send a user: %v %v", resp, err)
	}
}

func get(t *testing.T, w *walk, path, token string, v any) {
	t.Helper()
	resp, err := w.get(t.Context(), joinURL(w.Issuer, path), token, v)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %v %v", path, resp, err)
	}
}

// transport trusts the certificates of caFile.
func transport(t *testing.T, caFile string) http.RoundTripper {
	t.Helper()
	if caFile == "" {
		return http.DefaultTransport
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", caFile)
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
