package connection

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

func TestEmailDomain(t *testing.T) {
	for address, want := range map[string]string{
		"ada@example.com":                                             "example.com",
		" Ada@EXAMPLE.com ":                                           "example.com",
		"\"a@b\"@example.com":                                         "example.com",
		"ada@m\u00fcnchen.example":                                    "xn--mnchen-3ya.example",
		"ada@B\u00dcCHER.example":                                     "xn--bcher-kva.example",
		"ada@xn--bcher-kva.example":                                   "xn--bcher-kva.example",
		"ada@b\u00fccher\u3002example":                                "xn--bcher-kva.example",
		"ada@example.\u0440\u0444":                                    "example.xn--p1ai",
		"ada@pro\u010dprost\u011bnemluv\u00ed\u010desky.cz":           "xn--proprostnemluvesky-uyb24dma41a.cz", // RFC 3492 §7.1 (B)
		"a@\u4ed6\u4eec\u4e3a\u4ec0\u4e48\u4e0d\u8bf4\u4e2d\u6587.cn": "xn--ihqwcrb4cv8a8dqg056pqjye.cn",       // (C)

		"": "", "ada": "", "@example.com": "", "ada@": "", "ada@localhost": "", "ada@.example.com": "", "ada@example..com": "", "ada@example.com.": "",
		"ada@-a.example": "", "ada@a-.example": "", "ada@exa mple.com": "", "ada@exa_mple.com": "", "ada@example.com\x00": "", "ada@\xff.example": "",
		"ada@[127.0.0.1]": "", "ada@ex\u200bample.com": "", "ada@a/b.example": "",
		"ada@" + strings.Repeat("a", 64) + ".example":                   "",
		"ada@" + strings.Repeat(strings.Repeat("a", 60)+".", 5) + "com": "",
	} {
		if got := EmailDomain(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// A domain that two connections name belongs to the one that was made first, in
// whatever order they are looked at.
func TestHomeRealmsAreDecided(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	conn := func(id string, at time.Time, domains ...string) store.Connection {
		options, err := json.Marshal(map[string]any{"domain_aliases": domains})
		if err != nil {
			t.Fatal(err)
		}
		return store.Connection{ID: id, Strategy: StrategyOIDC, CreatedAt: at, Options: options}
	}
	a, b, c := conn("con_c", made, "one.example", "b\u00fccher.example"), conn("con_a", made.Add(time.Second), "one.example", "two.example"), conn("con_b", made.Add(time.Second), "two.example", "xn--bcher-kva.example")
	database := store.Connection{ID: "con_0", Strategy: StrategyDatabase, Options: json.RawMessage(`{"domain_aliases":["one.example"]}`)}
	want := map[string]string{"one.example": "con_c", "two.example": "con_a", "xn--bcher-kva.example": "con_c"}
	d := &Directory{}
	for _, order := range [][]store.Connection{{a, b, c, database}, {c, b, a, database}, {database, b, c, a}} {
		realms, err := d.HomeRealms(order)
		if err != nil || len(realms) != len(want) {
			t.Fatalf("%v, %v", realms, err)
		}
		for domain, id := range want {
			if realms[domain].ID != id {
				t.Errorf("%s: %s, want %s", domain, realms[domain].ID, id)
			}
		}
	}
	if realms, err := d.HomeRealms([]store.Connection{{Strategy: StrategyOIDC, Options: json.RawMessage(`[]`)}}); err == nil || realms != nil {
		t.Errorf("%v, %v", realms, err)
	}
}

func FuzzEmailDomain(f *testing.F) {
	for _, seed := range []string{"ada@example.com", "a@b\u00fccher\uff0eexample", "@", "a@\xff.b", "a@" + strings.Repeat("\u4e2d", 60) + ".cn"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		domain := EmailDomain(address)
		if domain == "" {
			return
		}
		if !strings.Contains(domain, ".") || len(domain) > maxHostname || strings.ContainsFunc(domain, func(r rune) bool { return r != '.' && (r > '~' || !isLabelRune(r)) }) {
			t.Errorf("%q is no domain name", domain)
		}
		// What came out is found as it is.
		if again := EmailDomain("a@" + domain); again != domain {
			t.Errorf("%q becomes %q", domain, again)
		}
	})
}
