package lock

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

const (
	asForm = "application/x-www-form-urlencoded"
	asJSON = "application/json"
)

func TestReadSignup(t *testing.T) {
	want := Signup{
		ClientID: "c", Connection: "db", Email: "a@b.example", Username: "a", Password: "p w", GivenName: "Ada",
		UserMetadata: []byte(`{"plan":"gold"}`),
	}
	for contentType, body := range map[string]string{
		asForm: "client_id=c&connection=db&email=a%40b.example&username=a&password=p+w&given_name=Ada&tenant=x&user_metadata%5Bplan%5D=gold&sso=true",
		asJSON: `{"client_id":"c","connection":"db","email":"a@b.example","username":"a","password":"p w","given_name":"Ada","user_metadata":{"plan":"gold"},"sso":true}`,
	} {
		got, err := ReadSignup(httptest.NewRecorder(), post(contentType, body))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", contentType, err, diff)
		}
	}
	for _, body := range []string{`{"user_metadata":1}`, `{"user_metadata":[]}`, `{"email":1}`, `{"email":"a","email":"b"}`, `[]`, ``} {
		got, err := ReadSignup(httptest.NewRecorder(), post(asJSON, body))
		e, ok := errors.AsType[*Error](err)
		if diff := cmp.Diff(Signup{}, got); !ok || e.StatusCode != 400 || diff != "" {
			t.Errorf("%s: %v %s", body, err, diff)
		}
	}
}

// An error comes with nothing that could be used.
func FuzzReadLogin(f *testing.F) {
	f.Add(asForm, "client_id=c&username=u&password=p&connection=db&state=s&_csrf=x&_intstate=y")
	f.Add(asJSON, `{"client_id":"c","username":"u","password":"p","state":"s","_csrf":"x","_intstate":"y","sso":true}`)
	f.Add(asJSON, `{"state":"s","STATE":"t"}`)
	f.Add("text/plain", "x")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		r := post(contentType, body)
		in, err := ReadLogin(httptest.NewRecorder(), r)
		if err == nil {
			return
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.StatusCode < 400 || e.StatusCode > 499 || in != (Login{}) {
			t.Errorf("%v with %+v", err, in)
		}
		r = post(contentType, body)
		if signup, err := ReadSignup(httptest.NewRecorder(), r); err != nil && !cmp.Equal(signup, Signup{}) {
			t.Errorf("%v with %+v", err, signup)
		}
	})
}
