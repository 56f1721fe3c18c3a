package store_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// TestValidateNamesWhatIsMissing goes by the fields, so that a new one is either
// required or named here as optional.
func TestValidateNamesWhatIsMissing(t *testing.T) {
	optional := map[string]bool{"ClientSweeper": true, "UserAdmin": true, "Events": true, "FamilyLister": true}
	of := reflect.TypeFor[store.Stores]()
	nothing := store.Stores{}.Validate()
	if nothing == nil || strings.Contains(nothing.Error(), "\n") || !strings.Contains(nothing.Error(), "Stores is empty: ") || strings.Contains(nothing.Error(), "Tenants") {
		t.Errorf("no store at all: %v", nothing)
	}
	var required []string
	for i := range of.NumField() {
		name := of.Field(i).Name
		stores := memstore.New().Stores()
		reflect.ValueOf(&stores).Elem().Field(i).SetZero()
		err := stores.Validate()
		if optional[name] {
			if err != nil {
				t.Errorf("the optional %s is demanded: %v", name, err)
			}
			continue
		}
		if err == nil || err.Error() != "store: Stores."+name+" is required" {
			t.Errorf("without %s the error is %v", name, err)
		}
		required = append(required, name)
	}
	// All but the first.
	only := store.Stores{Tenants: memstore.New().Stores().Tenants}
	want := "store: Stores." + strings.Join(required[1:], ", Stores.") + " are required"
	if err := only.Validate(); required[0] != "Tenants" || err == nil || err.Error() != want {
		t.Errorf("with one store: %v, want %s", err, want)
	}
}

func TestPageSize(t *testing.T) {
	for limit, want := range map[int]int{
		-1: store.MaxPageLimit, 0: store.MaxPageLimit, 1: 1, 50: 50,
		store.MaxPageLimit: store.MaxPageLimit, store.MaxPageLimit + 1: store.MaxPageLimit, 1 << 40: store.MaxPageLimit,
	} {
		if got := (store.Page{Limit: limit}).Size(); got != want {
			t.Errorf("the size of a page with Limit %d is %d, want %d", limit, got, want)
		}
	}
}

func TestClientStrict(t *testing.T) {
	for _, c := range []struct {
		client store.Client
		want   bool
	}{
		{store.Client{}, true},
		{store.Client{SecurityMode: store.ModeStrict}, true},
		{store.Client{SecurityMode: "unheard of"}, true},
		{store.Client{SecurityMode: store.ModePermissive}, false},
		{store.Client{FirstParty: true}, false},
		{store.Client{FirstParty: true, SecurityMode: store.ModeStrict}, false},
	} {
		if got := c.client.Strict(); got != c.want {
			t.Errorf("Strict of first party %v, mode %q is %v", c.client.FirstParty, c.client.SecurityMode, got)
		}
	}
}
