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
	if nothing == nil {
		t.Fatal("no store at all is no error")
	}
	for i := range of.NumField() {
		name := of.Field(i).Name
		stores := memstore.New().Stores()
		reflect.ValueOf(&stores).Elem().Field(i).SetZero()
		err := stores.Validate()
		if optional[name] {
			if err != nil || strings.Contains(nothing.Error(), "Stores."+name+" ") {
				t.Errorf("the optional %s is demanded: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "Stores."+name+" ") || strings.Count(err.Error(), "\n") != 0 {
			t.Errorf("without %s the error is %v", name, err)
		}
		if !strings.Contains(nothing.Error(), "Stores."+name+" ") {
			t.Errorf("without any store the error does not name %s", name)
		}
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
