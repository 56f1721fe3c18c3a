package oauth

import (
	"strings"
	"testing"
)

func TestClassifyRedirectURI(t *testing.T) {
	accepted := []struct {
		rule, uri string
		want      RedirectKind
	}{
		{"https", "https://client.example.com/callback", RedirectWeb},
		{"https without a path", "https://client.example.com", RedirectWeb},
		{"https with a query", "https://client.example.com/cb?tenant=a&x=%20y", RedirectWeb},
		{"https with a port", "https://client.example.com:8443/cb", RedirectWeb},
		{"highest port", "https://client.example.com:65535/cb", RedirectWeb},
		{"an at sign after the authority", "https://client.example.com/@me//@you?x=@z", RedirectWeb},
		{"host and scheme in capitals", "HTTPS://CLIENT.EXAMPLE.COM/cb", RedirectWeb},
		{"punycode host", "https://xn--mnchen-3ya.example/cb", RedirectWeb},
		{"underscore in a label", "https://my_app.example/cb", RedirectWeb},
		{"IPv4 host", "https://192.0.2.7/cb", RedirectWeb},
		{"IPv6 host", "https://[2001:db8::7]:8443/cb", RedirectWeb},
		{"digits in a label that is not the last", "https://127.0.0.1.evil.example/cb", RedirectWeb},
		{"one label", "https://intranet/cb", RedirectWeb},
		{"three dots are not a dot segment", "https://client.example.com/.../cb", RedirectWeb},
		{"encoded line break stays encoded", "https://client.example.com/cb?x=%0d%0a", RedirectWeb},

		{"IPv4 loopback", "http://127.0.0.1/cb", RedirectLoopback},
		{"IPv4 loopback with a port", "http://127.0.0.1:51004/cb", RedirectLoopback},
		{"the whole block 127.0.0.0/8", "http://127.255.255.254:1/cb", RedirectLoopback},
		{"IPv6 loopback", "http://[::1]/cb", RedirectLoopback},
		{"IPv6 loopback with a port", "http://[::1]:51004/cb", RedirectLoopback},
		{"IPv6 loopback in full", "http://[0:0:0:0:0:0:0:1]/cb", RedirectLoopback},
		{"localhost", "http://localhost:3000/cb", RedirectLoopback},
		{"localhost in capitals", "http://LocalHost/cb", RedirectLoopback},
		{"scheme in capitals", "HTTP://127.0.0.1/cb", RedirectLoopback},

		{"reversed domain name", "com.example.app:/oauth2redirect", RedirectPrivate},
		{"reversed domain name with an authority", "com.example.app://callback", RedirectPrivate},
		{"scheme without a dot", "cursor://anysphere.cursor-mcp/oauth/callback", RedirectPrivate},
		{"scheme in capitals", "MyApp://callback", RedirectPrivate},
		{"only a slash after the scheme", "com.example.app:/", RedirectPrivate},
		{"a scheme that contains http later", "myhttp://callback", RedirectPrivate},

		{"http elsewhere", "http://client.example.com/cb", RedirectInsecure},
		{"a name that begins with 127", "http://127.evil.example/cb", RedirectInsecure},
		{"a name that begins with 127.0.0.1", "http://127.0.0.1.evil.example/cb", RedirectInsecure},
		{"a name that begins with localhost", "http://localhost.evil.example/cb", RedirectInsecure},
		{"a name that ends with localhost", "http://evil.localhost/cb", RedirectInsecure},
		{"an IPv4-mapped loopback address", "http://[::ffff:127.0.0.1]/cb", RedirectInsecure},
		{"an IPv4-mapped loopback address in hexadecimal", "http://[::ffff:7f00:1]/cb", RedirectInsecure},
		{"the unspecified address", "http://0.0.0.0/cb", RedirectInsecure},
		{"the unspecified IPv6 address", "http://[::]/cb", RedirectInsecure},
		{"a private address", "http://192.168.1.1/cb", RedirectInsecure},
		{"a link-local address", "http://169.254.169.254/cb", RedirectInsecure},
		{"just above the loopback block", "http://128.0.0.1/cb", RedirectInsecure},
	}
	for _, c := range accepted {
		t.Run(c.rule, func(t *testing.T) {
			got, err := ClassifyRedirectURI(c.uri)
			if err != nil || got != c.want {
				t.Errorf("ClassifyRedirectURI(%q) = %v, %v; want %v", c.uri, got, err, c.want)
			}
		})
	}

	const (
		fragment  = "has a fragment"
		character = "has a character that RFC 3986 does not allow"
		wildcard  = "has a wildcard"
		percent   = "has a percent sign without"
		noHost    = "has no host"
		host      = "has a host that is not"
		port      = "has a port that is not"
		userinfo  = "has user information"
		dots      = "has a path with dot segments"
		scheme    = "has a scheme that is not allowed"
		invalid   = "is not a valid URI"
		relative  = "is not absolute"
		anyRule   = "" // net/url or the host rule, as the Go version has it
	)
	refused := []struct{ rule, uri, text string }{
		{"empty", "", "is empty"},
		{"too long", "https://a.example/" + strings.Repeat("x", MaxURI), "is longer than 2048 bytes"},
		{"relative", "/callback", relative},
		{"relative with an authority", "//client.example.com/callback", relative},
		{"a bare host", "client.example.com/callback", relative},
		{"a bare word", "callback", relative},

		{"fragment", "https://client.example.com/cb#x", fragment},
		{"empty fragment", "https://client.example.com/cb#", fragment},
		{"fragment in a private scheme", "com.example.app:/cb#x", fragment},
		{"fragment that hides a host", "https://evil.example#@client.example.com/", fragment},

		{"opaque https", "https:foo", noHost},
		{"https with one slash", "https:/client.example.com/cb", noHost},
		{"https with three slashes", "https:///client.example.com/cb", noHost},
		{"https alone", "https:", noHost},
		{"https with a query only", "https://?x", noHost},
		{"a port without a host", "https://:8443/cb", noHost},
		{"opaque private scheme", "com.example.app:callback", "has no slash after the scheme"},
		{"private scheme with a query only", "com.example.app:?x=y", "has no slash after the scheme"},
		{"private scheme alone", "com.example.app:", "has no slash after the scheme"},
		{"private scheme with slashes only", "com.example.app://", "has nothing after the scheme"},
		{"private scheme with three slashes", "com.example.app:///", "has nothing after the scheme"},

		{"user and password", "https://user:password@client.example.com/cb", userinfo},
		{"user", "https://user@client.example.com/cb", userinfo},
		{"empty user", "https://@client.example.com/cb", userinfo},
		{"a host in the user's place", "https://client.example.com@evil.example/cb", userinfo},
		{"user before a loopback host", "http://evil.example@127.0.0.1/cb", userinfo},
		{"user in a private scheme", "com.example.app://user@host/cb", userinfo},

		{"wildcard host", "https://*.example.com/cb", wildcard},
		{"wildcard path", "https://client.example.com/*", wildcard},
		{"wildcard query", "https://client.example.com/cb?*", wildcard},
		{"wildcard alone", "*", wildcard},
		{"wildcard port", "http://127.0.0.1:*/cb", wildcard},

		{"port zero", "http://127.0.0.1:0/cb", port},
		{"port with leading zeros", "http://127.0.0.1:080/cb", port},
		{"port too large", "https://client.example.com:65536/cb", port},
		{"port of five digits that is too large", "https://client.example.com:99999/cb", port},
		{"port of many digits", "https://client.example.com:4294967376/cb", port},
		{"empty port", "https://client.example.com:/cb", "has an empty port"},
		{"empty port of a loopback address", "http://[::1]:/cb", "has an empty port"},
		{"port that is not a number", "https://client.example.com:http/cb", invalid},
		{"negative port", "https://client.example.com:-1/cb", invalid},
		{"port that hides a host", "https://client.example.com:443.evil.example/cb", invalid},

		{"dot segments", "https://client.example.com/a/../b", dots},
		{"trailing dot segments", "https://client.example.com/a/..", dots},
		{"single dot segment", "https://client.example.com/./cb", dots},
		{"encoded dot segments", "https://client.example.com/a/%2e%2E/b", dots},
		{"dot segments behind an encoded slash", "https://client.example.com/a%2f..%2fb", dots},
		{"dot segments in a private scheme", "com.example.app:/a/../b", dots},

		{"unicode host", "https://münchen.example/cb", character},
		{"cyrillic look-alike", "https://сlient.example.com/cb", character},
		{"full-width dot", "https://client.example。com/cb", character},
		{"unicode path", "https://client.example.com/ü", character},
		{"right-to-left override", "https://client.example.com/\u202ecb", character},
		{"zero-width space", "https://client\u200b.example.com/cb", character},
		{"backslash for a slash", `https:\\client.example.com\cb`, character},
		{"backslash before an at sign", `https://client.example.com\@evil.example/cb`, character},
		{"space", "https://client.example.com/a b", character},
		{"leading space", " https://client.example.com/cb", character},
		{"tab in the scheme", "java\tscript://x", character},
		{"line feed", "https://client.example.com/\ncb", character},
		{"carriage return", "https://client.example.com/\rSet-Cookie:x", character},
		{"NUL", "https://client.example.com/\x00", character},
		{"DEL", "https://client.example.com/\x7f", character},
		{"invalid UTF-8", "https://client.example.com/\xff", character},
		{"quote", `https://client.example.com/"onload=`, character},
		{"angle brackets", "https://client.example.com/<script>", character},
		{"braces", "https://client.example.com/{id}", character},
		{"pipe", "https://client.example.com/a|b", character},
		{"grave accent", "https://client.example.com/`", character},

		{"percent sign alone", "https://client.example.com/cb?x=100%", percent},
		{"percent sign with one digit", "https://client.example.com/%4", percent},
		{"percent sign without digits", "https://client.example.com/%zz", percent},
		{"percent-encoded ASCII host", "https://%63lient.example.com/cb", invalid},
		{"percent-encoded unicode host", "https://m%C3%BCnchen.example/cb", host},
		{"percent-encoded percent sign in the host", "https://client%25.example/cb", host},
		{"IPv6 zone", "http://[::1%25lo0]/cb", host},
		{"IPv6 zone in https", "https://[fe80::1%25eth0]/cb", host},

		{"trailing dot", "https://client.example.com./cb", host},
		{"trailing dot of localhost", "http://localhost./cb", host},
		{"empty label", "https://client..example.com/cb", host},
		{"leading dot", "https://.example.com/cb", host},
		{"label of 64 characters", "https://" + strings.Repeat("a", 64) + ".example/cb", host},
		{"name of 254 characters", "https://" + strings.Repeat("abc.", 63) + "ab/cb", host},
		{"sub-delimiters in the host", "https://client.example.com,evil.example/cb", host},
		{"semicolon in the host", "https://client.example.com;evil.example/cb", host},
		{"dollar sign in the host", "https://${host}.example/cb", character},
		{"short IPv4", "http://127.1/cb", host},
		{"decimal IPv4", "http://2130706433/cb", host},
		{"octal IPv4", "http://0177.0.0.1/cb", host},
		{"hexadecimal IPv4", "http://0x7f000001/cb", host},
		{"hexadecimal last label", "https://a.0x1/cb", host},
		{"IPv4 out of range", "https://256.0.0.1/cb", host},
		{"IPv4 with leading zeros", "http://127.000.000.001/cb", host},
		{"five numbers", "https://1.2.3.4.5/cb", host},
		{"name that ends in a number", "https://client.example.1/cb", host},
		{"IPv6 without brackets", "http://::1/cb", anyRule},
		{"IPv4 in brackets", "http://[127.0.0.1]/cb", anyRule},
		{"name in brackets", "http://[localhost]/cb", anyRule},
		{"text after the brackets", "http://[::1]evil.example/cb", invalid},
		{"unclosed bracket", "http://[::1/cb", invalid},

		{"javascript", "javascript://client.example.com/%0aalert(1)", scheme},
		{"opaque javascript", "javascript:alert(1)", scheme},
		{"javascript in mixed case", "JaVaScRiPt:alert(1)", scheme},
		{"data", "data:text/html,x", scheme},
		{"vbscript", "vbscript:x", scheme},
		{"file", "file:///etc/passwd", scheme},
		{"blob", "blob:https://client.example.com/x", scheme},
		{"about", "about:blank", scheme},
		{"view-source", "view-source:https://client.example.com", scheme},
		{"websocket", "wss://client.example.com/cb", scheme},
		{"ftp", "ftp://client.example.com/cb", scheme},
		{"mailto", "mailto:a@client.example.com", scheme},
		{"the out-of-band URN", "urn:ietf:wg:oauth:2.0:oob", scheme},
		{"Android intent", "intent://cb#Intent;end", fragment},
		{"intent without a fragment", "intent://cb", scheme},
		{"protocol handler that runs diagnostics", "ms-msdt:/id", scheme},
		{"httpss", "httpss://client.example.com/cb", scheme},
		{"https+app", "https+app://client.example.com/cb", scheme},
		{"http.example", "http.example://cb", scheme},
		{"hxxps", "hxxps://client.example.com/cb", scheme},
		{"htps", "htps://client.example.com/cb", scheme},
		{"a drive letter", "c:/windows/system32", scheme},

		{"scheme that begins with a digit", "1app://cb", invalid},
		{"scheme with an underscore", "my_app://cb", invalid},
		{"no scheme before the colon", "://client.example.com/cb", invalid},
		{"percent-encoded scheme", "java%73cript://x", invalid},
	}
	for _, c := range refused {
		t.Run(c.rule, func(t *testing.T) {
			got, err := ClassifyRedirectURI(c.uri)
			if err == nil || got != 0 {
				t.Fatalf("ClassifyRedirectURI(%q) = %v, %v; want an error and no kind", c.uri, got, err)
			}
			if !strings.HasPrefix(err.Error(), c.text) {
				t.Errorf("ClassifyRedirectURI(%q): %q; want it to begin with %q", c.uri, err, c.text)
			}
		})
	}
}

func TestDeniedSchemesInEverySpelling(t *testing.T) {
	for scheme := range deniedSchemes {
		for _, spelled := range []string{scheme, strings.ToUpper(scheme), strings.ToUpper(scheme[:1]) + scheme[1:]} {
			for _, rest := range []string{":/x", "://host/x", ":x"} {
				if kind, err := ClassifyRedirectURI(spelled + rest); err == nil {
					t.Errorf("%s%s was accepted as %v", spelled, rest, kind)
				}
			}
		}
	}
}

func TestPrivateSchemeHasDot(t *testing.T) {
	for uri, want := range map[string]bool{
		"com.example.app:/cb":     true,
		"myapp://com.example/cb":  false,
		"myapp:/cb?x=com.example": false,
	} {
		if got := PrivateSchemeHasDot(uri); got != want {
			t.Errorf("PrivateSchemeHasDot(%q) = %v", uri, got)
		}
	}
}

func TestCheckURI(t *testing.T) {
	for _, uri := range []string{
		"https://client.example.com", "https://client.example.com/#/about", "https://client.example.com/?a=b#c",
		"HTTPS://client.example.com/", "https://[2001:db8::1]/", "https://192.0.2.1:8443/logo.png",
	} {
		if err := CheckURI(uri, "https"); err != nil {
			t.Errorf("CheckURI(%q): %v", uri, err)
		}
	}
	if err := CheckURI("http://client.example.com/", "https", "http"); err != nil {
		t.Errorf("the second scheme is not accepted: %v", err)
	}
	for uri, text := range map[string]string{
		"":                                   "is empty",
		"http://client.example.com/":         "does not have the scheme https",
		"javascript:alert(1)":                "does not have the scheme https",
		"com.example.app:/x":                 "does not have the scheme https",
		"https:client.example.com":           "has no host",
		"https://user@client.example.com/":   "has user information",
		"https://x/#\nfragment":              "has a character that RFC 3986 does not allow",
		"https://x/#\"><script>":             "has a character that RFC 3986 does not allow",
		"https://client.example.com:70000/":  "has a port that is not a number from 1 to 65535",
		"https://127.1/":                     "has a host that is not a domain name or an IP address",
		"https://client.example.com#@evil/*": "has a wildcard",
		"/relative":                          "is not absolute",
	} {
		if err := CheckURI(uri, "https"); err == nil || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("CheckURI(%q): %v; want %q", uri, err, text)
		}
	}
	if err := CheckURI("ftp://a.example", "https", "http"); err == nil || err.Error() != "does not have the scheme https or http" {
		t.Errorf("got %v", err)
	}
}

func TestMatchRedirectURI(t *testing.T) {
	cases := []struct {
		rule       string
		registered string
		requested  string
		loopback   bool // the client may use the loopback rule
		want       bool
	}{
		{"equal", "https://a.example/cb", "https://a.example/cb", false, true},
		{"equal with a query", "https://a.example/cb?x=1", "https://a.example/cb?x=1", false, true},
		{"equal private scheme", "com.example.app:/cb", "com.example.app:/cb", true, true},
		{"empty never matches", "", "", true, false},
		{"query added", "https://a.example/cb", "https://a.example/cb?x=1", true, false},
		{"empty query added", "https://a.example/cb", "https://a.example/cb?", true, false},
		{"query removed", "https://a.example/cb?x=1", "https://a.example/cb", true, false},
		{"query changed", "https://a.example/cb?x=1", "https://a.example/cb?x=2", true, false},
		{"query reordered", "https://a.example/cb?x=1&y=2", "https://a.example/cb?y=2&x=1", true, false},
		{"fragment added", "https://a.example/cb", "https://a.example/cb#x", true, false},
		{"path is a prefix", "https://a.example/cb", "https://a.example/cb/evil", true, false},
		{"path with dot segments", "https://a.example/cb", "https://a.example/x/../cb", true, false},
		{"trailing slash", "https://a.example/cb", "https://a.example/cb/", true, false},
		{"path case", "https://a.example/cb", "https://a.example/CB", true, false},
		{"host case", "https://a.example/cb", "https://A.example/cb", true, false},
		{"scheme case", "https://a.example/cb", "HTTPS://a.example/cb", true, false},
		{"another spelling of the path", "https://a.example/cb", "https://a.example/%63b", true, false},
		{"default port", "https://a.example/cb", "https://a.example:443/cb", true, false},
		{"another port of https", "https://127.0.0.1:1/cb", "https://127.0.0.1:2/cb", true, false},
		{"subdomain", "https://a.example/cb", "https://evil.a.example/cb", true, false},
		{"suffix", "https://a.example", "https://a.example.evil.example", true, false},
		{"user information", "https://a.example/cb", "https://a.example@evil.example/cb", true, false},
		{"wildcard in the registration is no pattern", "https://*.example/cb", "https://a.example/cb", true, false},
		{"another private path", "com.example.app:/cb", "com.example.app:/cb2", true, false},

		{"loopback with another port", "http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", true, true},
		{"loopback registered without a port", "http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", true, true},
		{"loopback requested without a port", "http://127.0.0.1:51004/cb", "http://127.0.0.1/cb", true, true},
		{"IPv6 loopback with another port", "http://[::1]:1/cb", "http://[::1]:2/cb", true, true},
		{"IPv6 loopback registered without a port", "http://[::1]/cb", "http://[::1]:2/cb", true, true},
		{"localhost with another port", "http://localhost:1/cb", "http://localhost:2/cb", true, true},
		{"loopback with a query", "http://127.0.0.1:1/cb?x=1", "http://127.0.0.1:2/cb?x=1", true, true},
		{"loopback without a path", "http://127.0.0.1", "http://127.0.0.1:2", true, true},
		{"loopback with a colon in the path", "http://127.0.0.1/a:b", "http://127.0.0.1:2/a:b", true, true},

		{"the client may not use the loopback rule", "http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", false, false},
		{"loopback with another path", "http://127.0.0.1:1/cb", "http://127.0.0.1:2/evil", true, false},
		{"loopback with another query", "http://127.0.0.1:1/cb?x=1", "http://127.0.0.1:2/cb?x=2", true, false},
		{"loopback with a query added", "http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb?x=1", true, false},
		{"another loopback address", "http://127.0.0.1:1/cb", "http://127.0.0.2:1/cb", true, false},
		{"localhost for 127.0.0.1", "http://127.0.0.1:1/cb", "http://localhost:1/cb", true, false},
		{"127.0.0.1 for localhost", "http://localhost:1/cb", "http://127.0.0.1:1/cb", true, false},
		{"[::1] for 127.0.0.1", "http://127.0.0.1:1/cb", "http://[::1]:1/cb", true, false},
		{"another spelling of [::1]", "http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:1/cb", true, false},
		{"localhost in capitals", "http://localhost/cb", "http://LOCALHOST:1/cb", true, false},
		{"scheme in capitals", "http://127.0.0.1/cb", "HTTP://127.0.0.1:1/cb", true, false},
		{"https for http", "http://127.0.0.1/cb", "https://127.0.0.1/cb", true, false},
		{"a name that begins with the address", "http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", true, false},
		{"a name that begins with 127", "http://127.0.0.1/cb", "http://127.evil.example/cb", true, false},
		{"the address as user information", "http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb", true, false},
		{"a port that is a host", "http://127.0.0.1/cb", "http://127.0.0.1:80.evil.example/cb", true, false},
		{"an empty port", "http://127.0.0.1/cb", "http://127.0.0.1:/cb", true, false},
		{"port zero", "http://127.0.0.1/cb", "http://127.0.0.1:0/cb", true, false},
		{"another port on a public host", "http://a.example:1/cb", "http://a.example:2/cb", true, false},
		{"backslash", "http://127.0.0.1/cb", `http://127.0.0.1:1\@evil.example/cb`, true, false},
		{"fragment on loopback", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb#x", true, false},
		{"dot segments on loopback", "http://127.0.0.1/cb", "http://127.0.0.1:1/x/../cb", true, false},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			registered := []string{"https://other.example/", c.registered, "com.example.other:/"}
			if got := MatchRedirectURI(registered, c.requested, c.loopback); got != c.want {
				t.Errorf("registered %q, requested %q: %v, want %v", c.registered, c.requested, got, c.want)
			}
		})
	}
	if MatchRedirectURI(nil, "https://a.example/cb", true) {
		t.Error("a client without redirect URIs matched one")
	}
}

// The classification is either an error and no kind, or a kind that keeps the
// promises of its name, whatever comes in.
func FuzzClassifyRedirectURI(f *testing.F) {
	for _, seed := range []string{
		"https://client.example.com/callback", "http://127.0.0.1:1/cb", "http://[::1]/cb", "com.example.app:/cb",
		"http://127.0.0.1.evil.example/", "https://u:p@h/", "https:foo", `https:\\x`, "javascript:alert(1)", "http://0x7f.1/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		kind, err := ClassifyRedirectURI(uri)
		if err != nil {
			if kind != 0 {
				t.Fatalf("%q: error %v with the kind %v", uri, err, kind)
			}
			if strings.ContainsAny(err.Error(), "\"\\\n") {
				t.Fatalf("%q: the text %q cannot be an error_description", uri, err)
			}
			if MatchRedirectURI([]string{"http://127.0.0.1/cb"}, uri, true) {
				t.Fatalf("%q is not a redirect URI but matches one", uri)
			}
			return
		}
		if strings.ContainsAny(uri, "#*\\ \t\r\n\"<>") || len(uri) > MaxURI {
			t.Fatalf("%q accepted", uri)
		}
		if host := authority(uri); strings.Contains(host, "@") {
			t.Fatalf("%q accepted with user information", uri)
		}
		if kind == RedirectLoopback && strings.HasPrefix(uri, "http://") {
			host := authority(withoutPort(uri))
			if !isLoopbackHost(strings.Trim(host, "[]")) {
				t.Fatalf("%q is loopback, but its host is %q", uri, host)
			}
			if !MatchRedirectURI([]string{uri}, withoutPort(uri), true) {
				t.Fatalf("%q does not match itself without its port", uri)
			}
		}
		if !MatchRedirectURI([]string{uri}, uri, false) {
			t.Fatalf("%q does not match itself", uri)
		}
	})
}

// What matches is equal, or differs in the port of a loopback URI only.
func FuzzMatchRedirectURI(f *testing.F) {
	f.Add("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb")
	f.Add("http://[::1]/cb", "http://[::1]:2/cb")
	f.Add("https://a.example/cb", "https://a.example/cb?x")
	f.Add("http://localhost/cb", "http://localhost:80@evil.example/cb")
	f.Fuzz(func(t *testing.T, registered, requested string) {
		if !MatchRedirectURI([]string{registered}, requested, true) || registered == requested {
			return
		}
		for _, uri := range []string{registered, requested} {
			if kind, err := ClassifyRedirectURI(uri); err != nil || kind != RedirectLoopback {
				t.Fatalf("%q matched %q, but %q is %v, %v", requested, registered, uri, kind, err)
			}
		}
		if withoutPort(registered) != withoutPort(requested) {
			t.Fatalf("%q matched %q", requested, registered)
		}
		if MatchRedirectURI([]string{registered}, requested, false) {
			t.Fatalf("%q matched %q without the loopback rule", requested, registered)
		}
	})
}

func TestLeadsToDevice(t *testing.T) {
	for uri, want := range map[string]bool{
		"https://app.example.com/cb": false, "https://127.0.0.1.example.com/cb": false, "https://localhost.example.com/cb": false, "https://127.example/cb": false,
		"http://127.0.0.1/cb": true, "http://127.0.0.2:9/cb": true, "http://[::1]:8080/cb": true, "http://localhost/cb": true,
		"https://localhost/cb": true, "https://LOCALHOST:8443/cb": true, "https://127.0.0.1/cb": true, "https://[::1]/cb": true,
		"com.example.app:/cb": true, "myapp://cb": true, "http://app.example.com/cb": true, "javascript:alert(1)": true, "": true, "https://app.example.com/#x": true,
	} {
		if got := LeadsToDevice(uri); got != want {
			t.Errorf("LeadsToDevice(%q) = %v, want %v", uri, got, want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"https://op.example/cb", "https://op.example", true},
		{"http://127.0.0.1:8080/console/cb?x=y", "http://127.0.0.1:8080/auth/", true},
		{"http://127.0.0.1:8080/cb", "http://127.0.0.1:8081", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80", false},
		{"http://127.0.0.1/cb", "http://localhost", false},
		{"http://op.example/cb", "https://op.example", false},
		{"https://op.example.evil.example/cb", "https://op.example", false},
		{"https://user@op.example/cb", "https://op.example", true}, // which no redirect URI has
		{"com.example.app:/cb", "com.example.app:/x", false}, {"app://op/cb", "app://op", false},
		{"", "", false}, {"https://%zz/", "https://%zz/", false},
	} {
		if got := SameOrigin(tc.a, tc.b); got != tc.want {
			t.Errorf("SameOrigin(%q, %q) = %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}
