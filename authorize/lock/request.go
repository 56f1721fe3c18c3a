package lock

import (
	"cmp"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// Login is what Lock sends when somebody signs in. What it repeats of the
// authorization request is not read: that is in State, where nobody changed it.
type Login struct {
	ClientID   string `json:"client_id"`
	Connection string `json:"connection"`
	Username   string `json:"username"`
	Password   string `json:"password"`
	State      string `json:"state"`
	CSRF       string `json:"_csrf"`
	IntState   string `json:"_intstate"`
}

// Signup is what Lock sends when somebody signs up.
type Signup struct {
	ClientID     string          `json:"client_id"`
	Connection   string          `json:"connection"`
	Email        string          `json:"email"`
	Username     string          `json:"username"`
	Password     string          `json:"password"`
	GivenName    string          `json:"given_name"`
	FamilyName   string          `json:"family_name"`
	Name         string          `json:"name"`
	Nickname     string          `json:"nickname"`
	Picture      string          `json:"picture"`
	UserMetadata json.RawMessage `json:"user_metadata"`
}

// ChangePassword is what Lock sends when somebody forgot a password.
type ChangePassword struct {
	ClientID   string `json:"client_id"`
	Connection string `json:"connection"`
	Email      string `json:"email"`
	Username   string `json:"username"`
}

// ReadLogin reads the body of a login, JSON or a form. The error is an [*Error] and
// comes with the zero Login.
func ReadLogin(w http.ResponseWriter, r *http.Request) (Login, error) {
	return read(w, r, func(form oauth.Parameters) Login {
		return Login{
			ClientID: form.Get("client_id"), Connection: form.Get("connection"), State: form.Get("state"),
			Username: cmp.Or(form.Get("username"), form.Get("email")), Password: form.Get("password"),
			CSRF: form.Get("_csrf"), IntState: form.Get("_intstate"),
		}
	})
}

// ReadSignup reads the body of a sign-up, JSON or a form. The error is an [*Error]
// and comes with the zero Signup.
func ReadSignup(w http.ResponseWriter, r *http.Request) (Signup, error) {
	s, err := read(w, r, func(form oauth.Parameters) Signup {
		return Signup{
			ClientID: form.Get("client_id"), Connection: form.Get("connection"), Email: form.Get("email"),
			Username: form.Get("username"), Password: form.Get("password"),
			GivenName: form.Get("given_name"), FamilyName: form.Get("family_name"),
			Name: form.Get("name"), Nickname: form.Get("nickname"), Picture: form.Get("picture"), UserMetadata: formMetadata(form),
		}
	})
	if err != nil {
		return Signup{}, err
	}
	if string(s.UserMetadata) == "null" {
		s.UserMetadata = nil
	}
	if s.UserMetadata != nil && !strings.HasPrefix(string(s.UserMetadata), "{") {
		return Signup{}, BadRequest("user_metadata must be an object")
	}
	return s, nil
}

// formMetadata collects user_metadata[name] of a form, which are text.
func formMetadata(form oauth.Parameters) json.RawMessage {
	values := map[string]string{}
	for name := range form.Names {
		if inner, ok := strings.CutPrefix(name, "user_metadata["); ok && strings.HasSuffix(inner, "]") {
			values[strings.TrimSuffix(inner, "]")] = form.Get(name)
		}
	}
	if len(values) == 0 {
		return nil
	}
	plain, _ := json.Marshal(values) // text always encodes
	return plain
}

// ReadChangePassword reads the body of a request to change a password, JSON or a
// form. The error is an [*Error] and comes with the zero ChangePassword.
func ReadChangePassword(w http.ResponseWriter, r *http.Request) (ChangePassword, error) {
	return read(w, r, func(form oauth.Parameters) ChangePassword {
		return ChangePassword{
			ClientID: form.Get("client_id"), Connection: form.Get("connection"),
			Email: form.Get("email"), Username: form.Get("username"),
		}
	})
}

// read reads a POST whose body is JSON, or a form that fromForm understands.
func read[T any](w http.ResponseWriter, r *http.Request, fromForm func(oauth.Parameters) T) (T, error) {
	var out, zero T
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return zero, &Error{StatusCode: http.StatusMethodNotAllowed, Name: "Error", Code: "invalid_request", Description: "The method must be POST."}
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/json" {
		if err := httpx.ReadJSON(w, r, &out); err != nil {
			return zero, bodyError(err)
		}
		return out, nil
	}
	form, err := oauth.ParseForm(w, r)
	if err != nil {
		e := oauth.AsError(err)
		return zero, &Error{StatusCode: e.Status, Name: "Error", Code: "invalid_request", Description: e.Description + "."}
	}
	return fromForm(form), nil
}

func bodyError(err error) error {
	e, ok := errors.AsType[*httpx.BodyError](err)
	if !ok {
		return err
	}
	return &Error{StatusCode: e.Status, Name: "Error", Code: "invalid_request", Description: e.Reason + "."}
}
