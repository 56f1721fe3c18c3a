package lock

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRenderReplacesThePlaceholder(t *testing.T) {
	cfg := &Config{ClientID: "c", Dict: Dict{}, InternalOptions: InternalOptions{State: "s</script>"}}
	cfg.Dict.SignIn.Title = "Übung & <b>"
	page := Render("a '@@config@@'\r\nb '@@config@@'\rc", cfg).HTML()
	lines := strings.Split(page, "\n")
	if len(lines) != 3 || strings.ContainsAny(page, "\r<&") {
		t.Fatalf("%q", page)
	}
	plain, err := base64.StdEncoding.DecodeString(strings.Split(lines[0], "'")[1])
	if err != nil {
		t.Fatal(err)
	}
	var got Config
	if err := json.Unmarshal(plain, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*cfg, got); diff != "" || lines[0][1:] != lines[1][1:] {
		t.Error(diff)
	}
}

// Which scripts of a page run is what a browser makes of it.
func TestScriptsOf(t *testing.T) {
	text := func(s string) script { return script{text: s} }
	file := func(s string) script { return script{file: true, src: s} }
	for page, want := range map[string][]script{
		``:                              nil,
		`no script < here`:              nil,
		`<script>a</script>`:            {text("a")},
		`<SCRIPT>a</Script >`:           {text("a")},
		`<script>a</script x="y">b`:     {text("a")},
		`<script>a</scripts>b</script>`: {text("a</scripts>b")},
		`<script>a`:                     {text("a")},
		"<script\n>a</script\n>":        {text("a")},
		`<scripts>a</scripts>`:          nil,
		`<script src=a.js></script>`:    {file("a.js")},
		`<script src="a.js?b&amp;c"></script><script>d</script>`:              {file("a.js?b&c"), text("d")},
		`<script async SRC = 'a.js' src="b.js"></script>`:                     {file("a.js")},
		`<script data-src="x">a</script>`:                                     {text("a")},
		`<script src></script>`:                                               {file("")},
		`<!-- <script>a</script> --><script>b</script>`:                       {text("b")},
		`<!--><script>a</script>`:                                             {text("a")},
		`<!---><script>a</script>`:                                            {text("a")},
		`<!-- --!><script>a</script>`:                                         {text("a")},
		`<!-- <script>a</script>`:                                             nil,
		`<style><script>a</script></style><script>b</script>`:                 {text("b")},
		`<textarea><script>a</script></textarea>`:                             nil,
		`<title><script></title><script>b</script>`:                           {text("b")},
		`<noscript><script>a</script></noscript>`:                             nil,
		`<a title="<script>x</script>"><script>b</script>`:                    {text("b")},
		`<a title='>' b=<script>c</script><script>d</script>`:                 {text("d")},
		`<script>if (a < b) { c("<!--") }</script>`:                           {text(`if (a < b) { c("<!--") }`)},
		`<div/><script/>a</script>`:                                           {text("a")},
		`</script><script>a</script>`:                                         {text("a")},
		`<?xml <script>a</script>`:                                            {text("a")},
		`<script type="text/template"><b></b></script><script>a</script>done`: {text("<b></b>"), text("a")},
	} {
		got := scriptsOf(page)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(script{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", page, diff)
		}
	}
}

func TestPolicy(t *testing.T) {
	const inline = `start("@@config@@");`
	html := `<script src="https://cdn.example.com/a.js"></script><script src="https://cdn.example.com/b.js"></script>
<script src="//other.example:8443/c.js"></script><script src="own.js"></script><script src="http://plain.example/d.js"></script>
<script src="https://evil.example;script-src *"></script><script src="data:text/javascript,1"></script>
<script>` + inline + `</script>`
	cfg := &Config{ClientID: "c"}
	page := Render(html, cfg)
	sum := sha256.Sum256([]byte(Render(inline, cfg).HTML()))
	want := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'" +
		"; script-src 'self' https://cdn.example.com other.example:8443 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'" +
		"; connect-src 'self' https://cdn.example.com other.example:8443" +
		"; style-src 'self' 'unsafe-inline' https:; img-src 'self' https: data:; font-src 'self' https: data:"
	if diff := cmp.Diff(want, page.Policy()); diff != "" {
		t.Error(diff)
	}
}

// Whatever an administrator writes: the policy keeps its shape.
func FuzzPolicy(f *testing.F) {
	f.Add(`<script src="https://a.example/b"></script><script>c</script>`)
	f.Add(`<!--<script>`)
	f.Add(`<script src='https://a;b "c`)
	f.Add(`<a b="<script>"></script x=>`)
	f.Fuzz(func(t *testing.T, html string) {
		policy := Render(html, &Config{}).Policy()
		if strings.Count(policy, ";") != 7 || strings.ContainsAny(policy, "\r\n*\"<>,") || strings.Contains(policy, "unsafe-eval") || strings.Count(policy, "'unsafe-inline'") != 1 {
			t.Errorf("%q", policy)
		}
	})
}
