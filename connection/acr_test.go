package connection

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
)

func TestACRConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		config   ACRConfig
		password string
		values   []string
	}{
		"zero":            {ACRConfig{}, ACRPasswordProtectedTransport, []string{ACRPasswordProtectedTransport}},
		"password alone":  {ACRConfig{Password: "1"}, "1", []string{"1"}},
		"levels":          {ACRConfig{Values: []string{"1", "2"}, Password: "1"}, "1", []string{"1", "2"}},
		"none for a host": {ACRConfig{Values: []string{"phr"}}, "", []string{"phr"}},
	} {
		resolved := tc.config.resolved()
		if err := resolved.check(); err != nil || resolved.Password != tc.password {
			t.Errorf("%s: %+v, %v", name, resolved, err)
		}
		if diff := cmp.Diff(tc.values, tc.config.Supported()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, bad := range map[string]ACRConfig{
		"an empty value":           {Values: []string{""}},
		"a space":                  {Values: []string{"a b"}},
		"not ASCII":                {Values: []string{"ü"}},
		"too long":                 {Values: []string{strings.Repeat("x", maxACR+1)}},
		"twice":                    {Values: []string{"1", "1"}},
		"password of another kind": {Values: []string{"1"}, Password: "2"},
		"a space in the password":  {Password: "a b"},
		"too many":                 {Values: strings.Split("0"+strings.Repeat(",x", maxACRValues), ",")},
	} {
		if err := bad.resolved().check(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestACRLevels(t *testing.T) {
	d := &Directory{cfg: Config{ACR: ACRConfig{Values: []string{"1", "2", "3"}, Password: "2"}}}
	for _, tc := range []struct {
		achieved, asked string
		want            bool
	}{
		{"2", "2", true}, {"2", "1", true}, {"2", "3", false}, {"3", "1", true}, {"1", "3", false},
		{"", "1", false}, {"1", "", false}, {"", "", false},
		{"urn:other", "urn:other", true}, {"urn:other", "1", false}, {"3", "urn:other", false}, {"2", "2 ", false},
	} {
		if got := d.SatisfiesACR(tc.achieved, tc.asked); got != tc.want {
			t.Errorf("%q for %q: %v", tc.achieved, tc.asked, got)
		}
	}
	database, host := &store.Connection{Strategy: StrategyDatabase}, &store.Connection{Strategy: StrategyHost}
	for asked, want := range map[string]struct{ database, host bool }{
		"1": {true, true}, "2": {true, true}, "3": {false, true}, "urn:other": {false, false}, "": {false, false},
	} {
		if got := d.ReachesACR(database, asked); got != want.database {
			t.Errorf("a database reaches %q: %v", asked, got)
		}
		if got := d.ReachesACR(host, asked); got != want.host {
			t.Errorf("a host reaches %q: %v", asked, got)
		}
	}
}
