package authorize

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
)

// A request object comes from anybody. Whatever it is: an error leaves nothing
// behind, and what is accepted has a bounded size and only parameters in it.
func FuzzRequestObject(f *testing.F) {
	encode := base64.RawURLEncoding.EncodeToString
	object := func(header, payload string) string {
		return encode([]byte(header)) + "." + encode([]byte(payload)) + "."
	}
	f.Add(object(`{"alg":"none"}`, `{"iss":"c","aud":["a","b"],"exp":1.5e9,"scope":"openid","max_age":10,"claims":{"userinfo":{}},"resource":["https://a.example/"]}`))
	f.Add(object(`{"alg":"ES256","typ":"oauth-authz-req+jwt","kid":"1"}`, `{"state":"\u0000","nonce":null,"prompt":true}`))
	f.Add(object(`{"alg":"none","crit":[]}`, `{}`))
	f.Add(object(`{"alg":"none","alg":"ES256"}`, `{"a":1,"a":2}`))
	f.Add(object(`null`, `null`))
	f.Add("....")
	f.Fuzz(func(t *testing.T, compact string) {
		header, payload, signature, err := parseObject(compact)
		if err != nil {
			if header.Algorithm != "" || header.Type != "" || header.Critical != nil || payload != nil || signature != "" {
				t.Fatal("an error with a result")
			}
			if oauth.AsError(err).Code != oauth.CodeInvalidRequestObject {
				t.Fatal(err)
			}
			return
		}
		if len(compact) > maxRequestObject {
			t.Fatal("too large")
		}
		o, err := readObject(payload)
		if err != nil {
			if o.values != nil || o.claims.Issuer != "" || o.claims.Audience != nil || o.claims.Expiry != nil {
				t.Fatal("an error with a result")
			}
			return
		}
		for name, values := range o.values {
			if name == "request" || name == "request_uri" || name == "iss" || strings.HasPrefix(name, "client_assertion") || len(values) == 0 {
				t.Fatalf("parameter %q %q", name, values)
			}
			if len(values) > 1 && name != "resource" {
				t.Fatalf("%q has %d values", name, len(values))
			}
		}
	})
}
