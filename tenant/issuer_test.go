package tenant_test

import (
	"strings"
	"testing"

	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

func TestIssuers(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://example.com":                 true,
		"https://example.com/":                true,
		"https://example.com:8443/idp":        true,
		"https://example.com/idp/Tenant-1_a~": true,
		"http://localhost:3000":               true,
		"http://127.0.0.1":                    true,
		"http://[::1]:8080/":                  true,

		"":                                                false,
		"example.com":                                     false,
		"//example.com":                                   false,
		"https:example.com":                               false,
		"https://":                                        false,
		"http://example.com":                              false,
		"http://127.0.0.1.example.com":                    false,
		"http://127.evil.example":                         false,
		"http://localhost.example.com":                    false,
		"ftp://example.com":                               false,
		"com.example:/idp":                                false,
		"https://example.com?tenant=a":                    false,
		"https://example.com?":                            false,
		"https://example.com#a":                           false,
		"https://example.com#":                            false,
		"https://user:secret@example.com":                 false,
		"https://example.com/a/../b":                      false,
		"https://example.com//a":                          false,
		"https://example.com/a//":                         false,
		"https://example.com/%61":                         false,
		"https://example.com/a b":                         false,
		"https://example.com/ä":                           false,
		"https://example.com:":                            false,
		"https://example.com:99999999":                    false,
		"HTTPS://example.com":                             false,
		"https://Example.com":                             false,
		" https://example.com":                            false,
		"https://example.com\n":                           false,
		"https://*.example.com":                           false,
		"com.example://idp":                               false,
		"https://example.com/" + strings.Repeat("a", 300): false,
	} {
		_, err := tenant.New(tenant.Config{Stores: memstore.New().Stores(), Secrets: [][]byte{secret}, Issuer: issuer})
		if (err == nil) != ok {
			t.Errorf("%q: error %v, want accepted: %v", issuer, err, ok)
		}
	}
}
