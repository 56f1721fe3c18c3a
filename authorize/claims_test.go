package authorize

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/token"
)

func TestParseClaims(t *testing.T) {
	for _, tc := range []struct {
		rule, raw string
		want      claimsRequest
	}{
		{"absent", "", claimsRequest{}},
		{"an empty object", "{}", claimsRequest{}},
		{"the example of §5.5", `{"userinfo":{"given_name":{"essential":true},"nickname":null,"email":{"essential":true},"email_verified":{"essential":true},"picture":null,"http://example.info/claims/groups":null},
			"id_token":{"auth_time":{"essential":true},"acr":{"values":["urn:mace:incommon:iap:silver"]}}}`,
			claimsRequest{userInfo: token.ClaimsOf("given_name", "nickname", "email", "email_verified", "picture"), acr: []string{"urn:mace:incommon:iap:silver"}, authTime: true}},
		{"each in its member", `{"userinfo":{"name":null},"id_token":{"email":{}}}`,
			claimsRequest{userInfo: token.ClaimsOf("name"), idToken: token.ClaimsOf("email")}},
		{"members that are null", `{"userinfo":null,"id_token":null}`, claimsRequest{}},
		{"unknown members, also of a claim, are ignored", `{"x":[1],"userinfo":{"name":{"purpose":"why","essential":null,"value":null}}}`,
			claimsRequest{userInfo: token.ClaimsOf("name")}},
		{"names have a case", `{"UserInfo":{"name":null},"userinfo":{"Email":null,"NAME":null}}`, claimsRequest{}},
		{"unknown claims and languages are ignored", `{"userinfo":{"name#de":null,"shoe_size":{"essential":true},"":null}}`, claimsRequest{}},
		{"claims about the login are not claims about the user", `{"userinfo":{"auth_time":{"essential":true},"iss":null},"id_token":{"auth_time":null,"amr":null,"nonce":{"value":"x"}}}`, claimsRequest{}},
		{"a value of another claim does not restrict", `{"id_token":{"email":{"value":"bob@example.com"},"address":{"value":{"country":"DE"}}}}`,
			claimsRequest{idToken: token.ClaimsOf("email", "address")}},
		{"acr is essential", `{"id_token":{"acr":{"essential":true,"values":["2","1"]}}}`, claimsRequest{acr: []string{"2", "1"}, acrEssential: true}},
		{"acr with one value", `{"id_token":{"acr":{"essential":true,"value":"2"}}}`, claimsRequest{acr: []string{"2"}, acrEssential: true}},
		{"acr is essential without a value", `{"id_token":{"acr":{"essential":true,"values":[]}}}`, claimsRequest{}},
		{"acr at userinfo", `{"userinfo":{"acr":{"essential":true,"values":["2"]}}}`, claimsRequest{}},
		{"sub without a value", `{"id_token":{"sub":null},"userinfo":{"sub":{"essential":true}}}`, claimsRequest{}},
		{"sub", `{"id_token":{"sub":{"value":"a"}}}`, claimsRequest{subjects: []string{"a"}, subjectLimited: true}},
		{"sub of several", `{"id_token":{"sub":{"values":["a","b"]}}}`, claimsRequest{subjects: []string{"a", "b"}, subjectLimited: true}},
		{"sub in both members", `{"userinfo":{"sub":{"values":["b","c"]}},"id_token":{"sub":{"values":["a","b"]}}}`, claimsRequest{subjects: []string{"b"}, subjectLimited: true}},
		{"sub that nobody can have", `{"userinfo":{"sub":{"value":"c"}},"id_token":{"sub":{"value":"a"}}}`, claimsRequest{subjects: []string{}, subjectLimited: true}},
	} {
		got, err := parseClaims(tc.raw)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v, want %+v", tc.rule, got, err, tc.want)
		}
	}
}

func TestParseClaimsRefuses(t *testing.T) {
	many := strings.Repeat(`"x":null,`, maxClaims)
	for i := range maxClaims { // names that differ
		many = strings.Replace(many, `"x"`, `"n`+strings.Repeat("n", i)+`"`, 1)
	}
	for rule, raw := range map[string]string{
		"not JSON":                        "{",
		"text behind it":                  `{} {}`,
		"null":                            "null",
		"a list":                          "[]",
		"a string":                        `"{}"`,
		"a member is a list":              `{"userinfo":[]}`,
		"a member is a string":            `{"id_token":"name"}`,
		"a claim is a string":             `{"userinfo":{"name":"x"}}`,
		"a claim is a boolean":            `{"userinfo":{"name":true}}`,
		"essential is a string":           `{"userinfo":{"name":{"essential":"true"}}}`,
		"essential is a string, unknown":  `{"userinfo":{"shoe_size":{"essential":"true"}}}`,
		"values is a string":              `{"userinfo":{"name":{"values":"x"}}}`,
		"a member twice":                  `{"userinfo":{},"userinfo":{}}`,
		"a member twice, in two spelling": `{"userinfo":{},"user\u0069nfo":{}}`,
		"a claim twice":                   `{"id_token":{"sub":null,"sub":{"value":"a"}}}`,
		"essential twice":                 `{"id_token":{"name":{"essential":true,"essential":false}}}`,
		"twice inside of a value":         `{"id_token":{"address":{"value":{"a":1,"a":2}}}}`,
		"twice in an unknown member":      `{"x":{"a":1,"a":2}}`,
		"sub is a number":                 `{"id_token":{"sub":{"value":1}}}`,
		"sub of several has null":         `{"id_token":{"sub":{"values":["a",null]}}}`,
		"acr is a number":                 `{"id_token":{"acr":{"values":[1]}}}`,
		"sub is an object":                `{"userinfo":{"sub":{"value":{}}}}`,
		"too many claims":                 `{"userinfo":{` + many + `"name":null}}`,
		"too many values":                 `{"userinfo":{"name":{"values":[` + strings.Repeat("1,", maxClaimValues) + `1]}}}`,
		"too deep":                        `{"x":` + strings.Repeat("[", maxClaimsDepth) + strings.Repeat("]", maxClaimsDepth) + `}`,
		"far too deep":                    strings.Repeat(`{"x":`, 1500),
		"too large":                       `{"x":"` + strings.Repeat("x", maxClaimsParameter) + `"}`,
	} {
		got, err := parseClaims(raw)
		e := oauth.AsError(err)
		if err == nil || e.Code != oauth.CodeInvalidRequest || !strings.HasPrefix(e.Description, "claims ") {
			t.Errorf("%s: %v", rule, err)
		}
		if !reflect.DeepEqual(got, claimsRequest{}) {
			t.Errorf("%s: an error with %+v", rule, got)
		}
	}
	if got, err := parseClaims(`{"userinfo":{` + strings.TrimSuffix(many, ",") + `}}`); err != nil || got.userInfo != 0 {
		t.Errorf("as many claims as allowed: %+v, %v", got, err)
	}
}

func TestEveryClaimHasADescription(t *testing.T) {
	for _, info := range claimInfo(token.ClaimsOfScope(oauth.StandardScopes)) {
		if info.Description == "" || !info.Claim {
			t.Errorf("%+v", info)
		}
	}
}

// The claims parameter comes from anybody. An error leaves nothing behind, and what
// is accepted is bounded and means the same a second time.
func FuzzClaims(f *testing.F) {
	f.Add(`{"userinfo":{"given_name":{"essential":true},"nickname":null},"id_token":{"auth_time":{"essential":true},"acr":{"values":["1","2"]}}}`)
	f.Add(`{"id_token":{"sub":{"value":"a","values":["b","\ud800"]},"email":{"value":{"a":[[[]]]}}}}`)
	f.Add(`{"userinfo":{"sub":{"value":"a"}},"id_token":{"sub":{"value":"b"},"acr":{"essential":true,"value":"1"}}}`)
	f.Add(`{"userinfo":{"name":{"essential":1e999}}}`)
	f.Add(`{"id_token":{"sub":null,"\u0073ub":null}}`)
	f.Add(`{"x":"\"{[\\"}`)
	f.Add("[[[[[[[[[[")
	f.Add("null")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseClaims(raw)
		if err != nil {
			if !reflect.DeepEqual(got, claimsRequest{}) {
				t.Fatalf("an error with %+v", got)
			}
			if e := oauth.AsError(err); e.Code != oauth.CodeInvalidRequest || !strings.HasPrefix(e.Description, "claims ") {
				t.Fatal(err)
			}
			return
		}
		if len(raw) > maxClaimsParameter || nesting(raw) > maxClaimsDepth || len(got.subjects) > 2*(maxClaimValues+1) {
			t.Fatalf("no bound: %+v", got)
		}
		if got.subjects != nil && !got.subjectLimited {
			t.Fatalf("subjects without a limit: %+v", got)
		}
		if got.acrEssential && got.acr == nil {
			t.Fatalf("essential without a value: %+v", got)
		}
		if !slices.Equal(token.ClaimsOf(got.userInfo.Names()...).Names(), got.userInfo.Names()) {
			t.Fatalf("claims that are not known: %v", got.userInfo)
		}
		if again, err := parseClaims(raw); err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%+v, then %+v, %v", got, again, err)
		}
	})
}
