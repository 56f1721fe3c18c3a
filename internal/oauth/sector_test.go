package oauth

import "testing"

func TestSectorIdentifier(t *testing.T) {
	for name, test := range map[string]struct {
		sectorURI string
		redirects []string
		want      string // empty: there is none
	}{
		"one redirect URI":          {"", []string{"https://app.example/cb"}, "app.example"},
		"one host, several URIs":    {"", []string{"https://app.example/a", "https://app.example/b?x=y"}, "app.example"},
		"the port does not count":   {"", []string{"https://app.example/a", "https://app.example:8443/b"}, "app.example"},
		"hosts have no case":        {"", []string{"https://APP.example/a", "https://app.Example/b"}, "app.example"},
		"a subdomain is a host":     {"", []string{"https://app.example/a", "https://www.app.example/a"}, ""},
		"two hosts":                 {"", []string{"https://app.example/a", "https://app.test/a"}, ""},
		"none":                      {"", nil, ""},
		"loopback":                  {"", []string{"http://127.0.0.1/cb"}, ""},
		"localhost":                 {"", []string{"http://localhost:8080/cb"}, ""},
		"private-use scheme":        {"", []string{"com.example.app:/cb"}, ""},
		"one on the device":         {"", []string{"https://app.example/cb", "com.example.app:/cb"}, ""},
		"IPv6":                      {"", []string{"https://[2001:db8::1]/cb"}, "2001:db8::1"},
		"sector URI":                {"https://Sector.example:444/uris.json", []string{"https://app.example/cb"}, "sector.example"},
		"sector URI, several hosts": {"https://sector.example/uris.json", []string{"https://a.example/cb", "com.example.app:/cb"}, "sector.example"},
		"sector URI without a host": {"https:///uris.json", []string{"https://a.example/cb"}, ""},
		"not a URI":                 {"", []string{"https://a b/cb"}, ""},
	} {
		got, err := SectorIdentifier(test.sectorURI, test.redirects)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, test.want)
		}
	}
}
