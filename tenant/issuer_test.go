package tenant_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// RFC 8414 §2, OpenID Connect Discovery §3: https, and http only where there is no
// network in between. The error names the field.
func TestIssuers(t *testing.T) {
	resolver, err := tenant.New(tenant.Config{Stores: memstore.New().Stores(), Secrets: [][]byte{secret}, Resolver: tenant.ByPath("https://example.com")})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for issuer, ok := range map[string]bool{
		"https://example.com":                 true,
		"https://example.com/":                true,
		"https://example.com:8443/idp":        true,
		"https://example.com/idp/Tenant-1_a~": true,
		"https://localhost":                   true,
		"https://localhost:9443":              true,
		"https://127.0.0.1:9443":              true,
		"https://10.0.0.1":                    true,
		"http://localhost":                    true,
		"http://localhost:3000":               true,
		"http://127.8.9.10:80":                true,
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
		"http://localhost.example":                        false,
		"http://localhost.:8080":                          false,
		"http://sub.localhost":                            false,
		"http://localhost@example.com":                    false,
		"http://127.1":                                    false,
		"http://2130706433":                               false,
		"http://0x7f000001":                               false,
		"http://0.0.0.0":                                  false,
		"http://10.0.0.1":                                 false,
		"http://169.254.169.254":                          false,
		"http://[::]":                                     false,
		"http://[::ffff:127.0.0.1]":                       false,
		"http://[fe80::1%25eth0]":                         false,
		"http://[::1%25lo]":                               false,
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
		if (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "tenant: Config.Issuer ") {
			t.Errorf("%q: error %v, want accepted: %v", issuer, err, ok)
		}
		n++
		_, err = resolver.CreateTenant(t.Context(), store.Tenant{ID: fmt.Sprintf("t%d", n), Issuer: issuer})
		if (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "tenant: the issuer ") {
			t.Errorf("a tenant with %q: error %v, want accepted: %v", issuer, err, ok)
		}
	}
}
