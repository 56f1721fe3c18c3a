package connection

import (
	"errors"
	"strings"
	"testing"
)

func TestOptionsAreKept(t *testing.T) {
	for _, raw := range []string{
		``,
		`{"disable_signup":true,"requires_username":false,"import_mode":true,"brute_force_protection":true}`,
		`{"passwordPolicy":"excellent","password_complexity_options":{"min_length":12}}`,
		`{"passwordPolicy":null,"brute_force_protection":null}`,
		`{"validation":{"username":{"min":3,"max":20}}}`,
		`{"validation":{"username":null}}`,
		`{"mfa":{"active":true},"strategy_version":2,"password_history":{"enable":true,"size":5},"password_dictionary":{"enable":false,"dictionary":["x"]}}`,
		`{"set_user_root_attributes":"on_each_login","non_persistent_attrs":["gender"],"precedence":["email","username"]}`,
		`{"attributes":{"email":{"identifier":{"active":true}}},"authentication_methods":{"passkey":{"enabled":false}}}`,
		`{"enabledDatabaseCustomization":false,"customScripts":{},"configuration":{}}`,
		`{"something_new":[1,{"x":null}],"disable_signup":false}`,
	} {
		kept, err := checkOptions(StrategyDatabase, []byte(raw))
		if err != nil || string(kept) != raw {
			t.Errorf("%s became %s, error %v", raw, kept, err)
		}
		if shown := string(shownOptions(kept)); raw != "" && !strings.Contains(raw, "customScripts") && shown != raw {
			t.Errorf("%s is shown as %s", raw, shown)
		}
	}
	for _, raw := range []string{`{}`, ` { } `} {
		if kept, err := checkOptions(StrategyDatabase, []byte(raw)); err != nil || kept != nil {
			t.Errorf("%s became %s, error %v", raw, kept, err)
		}
	}
	if shown := string(shownOptions(nil)); shown != "{}" {
		t.Errorf("no options are shown as %s", shown)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for raw, field := range map[string]string{
		`null`:                            "options",
		`[]`:                              "options",
		`"x"`:                             "options",
		`{"disable_signup":true`:          "options",
		`{"x":1,"x":2}`:                   "options",
		`{"x":{"y":1,"y":2}}`:             "options",
		`{"x":` + strings.Repeat(`[`, 40): "options",
		`{"x":"` + strings.Repeat("x", maxOptions) + `"}`: "options",

		`{"disable_signup":"true"}`:                        "options.disable_signup",
		`{"requires_username":1}`:                          "options.requires_username",
		`{"import_mode":{}}`:                               "options.import_mode",
		`{"brute_force_protection":"no"}`:                  "options.brute_force_protection",
		`{"passwordPolicy":"strong"}`:                      "options.passwordPolicy",
		`{"passwordPolicy":""}`:                            "options.passwordPolicy",
		`{"passwordPolicy":1}`:                             "options.passwordPolicy",
		`{"strategy_version":1.5}`:                         "options.strategy_version",
		`{"strategy_version":0}`:                           "options.strategy_version",
		`{"set_user_root_attributes":true}`:                "options.set_user_root_attributes",
		`{"non_persistent_attrs":"gender"}`:                "options.non_persistent_attrs",
		`{"precedence":[1]}`:                               "options.precedence",
		`{"mfa":true}`:                                     "options.mfa",
		`{"password_history":[]}`:                          "options.password_history",
		`{"validation":[]}`:                                "options.validation",
		`{"validation":{"username":5}}`:                    "options.validation",
		`{"validation":{"username":{}}}`:                   "options.validation",
		`{"validation":{"username":{"min":0,"max":5}}}`:    "options.validation",
		`{"validation":{"username":{"min":6,"max":5}}}`:    "options.validation",
		`{"validation":{"username":{"min":1,"max":129}}}`:  "options.validation",
		`{"password_complexity_options":5}`:                "options.password_complexity_options",
		`{"password_complexity_options":{"min_length":0}}`: "options.password_complexity_options",

		`{"enabledDatabaseCustomization":true}`:      "options.enabledDatabaseCustomization",
		`{"customScripts":{"login":"function(){}"}}`: "options.customScripts",
		`{"configuration":{"DB_PASSWORD":"secret"}}`: "options.configuration",
		`{"client_secret":"secret"}`:                 "options.client_secret",
		`{"custom_password_hash":{"action_id":"x"}}`: "options.custom_password_hash",
	} {
		kept, err := checkOptions(StrategyDatabase, []byte(raw))
		e, ok := errors.AsType[*InvalidError](err)
		if !ok || e.Field != field || kept != nil {
			t.Errorf("%.80s became %.80s, error %v, want one about %s", raw, kept, err, field)
		}
		if ok && strings.Contains(e.Error(), "secret\"") {
			t.Errorf("%s: a value is repeated: %v", raw, e)
		}
	}
	if _, err := checkOptions(StrategyHost, []byte(`{"disable_signup":true}`)); err == nil {
		t.Error("a host connection took options")
	}
}

func TestSecretOptionsAreNotShown(t *testing.T) {
	// Written by another program, or by a version that had a use for it.
	shown := string(shownOptions([]byte(`{"client_secret":"s3cret","configuration":{"K":"s3cret"},"disable_signup":true}`)))
	if shown != `{"disable_signup":true}` {
		t.Errorf("shown: %s", shown)
	}
	if shown := string(shownOptions([]byte(`not JSON, but s3cret`))); shown != "{}" {
		t.Errorf("shown: %s", shown)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add([]byte(`{"passwordPolicy":"good","validation":{"username":{"min":1,"max":15}},"client_secret":""}`))
	f.Add([]byte(`{"brute_force_protection":false,"x":[{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept, err := checkOptions(StrategyDatabase, raw)
		if err != nil {
			if kept != nil {
				t.Fatalf("an error with %s", kept)
			}
			return
		}
		if _, err := parseDatabaseOptions(kept); err != nil {
			t.Fatalf("%s was accepted and cannot be read: %v", raw, err)
		}
		again, err := checkOptions(StrategyDatabase, kept)
		if err != nil || string(again) != string(kept) {
			t.Fatalf("%s became %s, error %v", kept, again, err)
		}
	})
}
