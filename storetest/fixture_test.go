package storetest

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

// TestRulesQuoteTheContract proves that a failure prints what package store says.
func TestRulesQuoteTheContract(t *testing.T) {
	source, err := os.ReadFile("../store/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	contract := strings.Join(strings.Fields(strings.ReplaceAll(string(source), "//", "")), " ")
	for _, r := range []rule{
		ruleContext, ruleTenants, ruleSecrets, ruleClock, ruleExpired, ruleErrors, ruleOnce, ruleTombs,
		ruleCopies, ruleTimes, ruleAbsent, ruleHandles, ruleVersions, ruleLists, ruleDurable,
	} {
		if !strings.Contains(contract, r.text) {
			t.Errorf("rule %d is not in package store: %s", r.number, r.text)
		}
	}
}

// TestFixtures proves that every field of every record is set, differs with the
// seed, and is found by what the checks do to records.
func TestFixtures(t *testing.T) {
	testFixture[store.Tenant](t)
	testFixture[store.Connection](t)
	testFixture[store.User](t)
	testFixture[store.Client](t)
	testFixture[store.API](t)
	testFixture[store.ClientGrant](t)
	testFixture[store.SigningKey](t)
	testFixture[store.Session](t)
	testFixture[store.Ticket](t)
	testFixture[store.Grant](t)
	testFixture[store.Family](t)
}

func testFixture[R any](t *testing.T) {
	name := reflect.TypeFor[R]().Name()
	r, other := full[R](1), full[R](3)
	var check func(path string, v, w reflect.Value)
	check = func(path string, v, w reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is zero", path)
		}
		fields := v.Kind() == reflect.Struct && v.Type() != typeTime
		whole := !fields && v.Kind() != reflect.Bool && v.Kind() != reflect.Pointer
		if whole && reflect.DeepEqual(v.Interface(), w.Interface()) {
			t.Errorf("%s is the same for another seed", path)
		}
		if v.Kind() == reflect.Pointer {
			check(path, v.Elem(), w.Elem())
		}
		if fields {
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i), w.Field(i))
			}
		}
	}
	check(name, reflect.ValueOf(r), reflect.ValueOf(other))

	if again := full[R](1); !reflect.DeepEqual(r, again) {
		t.Errorf("%s is not the same for the same seed: %s", name, diff(r, again))
	}
	bools := 0
	eachBool(func(path string, set func(*R)) {
		bools++
		var one R
		set(&one)
		if reflect.ValueOf(one).IsZero() {
			t.Errorf("setting %s sets nothing", path)
		}
	})
	count := 0
	walk(reflect.ValueOf(&r).Elem(), func(v reflect.Value) {
		if v.Kind() == reflect.Bool {
			count++
		}
	})
	if bools != count {
		t.Errorf("%s: %d booleans are set alone, want %d", name, bools, count)
	}
}

// TestCloneSharesNothing proves the records' own Clone with what the kit does to
// copies.
func TestCloneSharesNothing(t *testing.T) {
	testClone(t, store.Tenant.Clone)
	testClone(t, store.Connection.Clone)
	testClone(t, store.User.Clone)
	testClone(t, store.Client.Clone)
	testClone(t, store.API.Clone)
	testClone(t, store.ClientGrant.Clone)
	testClone(t, store.SigningKey.Clone)
	testClone(t, store.Session.Clone)
	testClone(t, store.Ticket.Clone)
	testClone(t, store.Grant.Clone)
	testClone(t, func(f store.Family) store.Family { return f })
}

func testClone[R any](t *testing.T, clone func(R) R) {
	r := full[R](1)
	c := clone(r)
	if d := diff(r, c); d != "" {
		t.Errorf("a clone differs:\n%s", d)
	}
	scribble(&c)
	if d := diff(full[R](1), r); d != "" {
		t.Errorf("the original changed with its clone:\n%s", d)
	}
	if reflect.TypeFor[R]() != reflect.TypeFor[store.Family]() && diff(r, c) == "" {
		t.Errorf("scribbling on a %T changed nothing", r)
	}
	var zero R
	if d := diff(zero, clone(zero)); d != "" {
		t.Errorf("a clone of zero differs:\n%s", d)
	}
}
