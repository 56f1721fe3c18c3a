package token

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// readParameters reads the parameters of a request from its body, never
// from the query (RFC 6749 §2.3.1). RFC 6749 wants a form; some SDKs send the
// same parameters as one JSON object, for which the same rules hold.
func readParameters(w http.ResponseWriter, r *http.Request) (oauth.Parameters, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && mediaType == "application/x-www-form-urlencoded":
		return oauth.ParseForm(w, r)
	case err == nil && mediaType == "application/json":
		return readJSONParameters(w, r)
	}
	return oauth.Parameters{}, &oauth.Error{
		Code: oauth.CodeInvalidRequest, Description: "the content type must be application/x-www-form-urlencoded or application/json",
		Status: http.StatusUnsupportedMediaType,
	}
}

// jsonParameters are the parameters that the token, revocation and introspection
// endpoints or client authentication look at. Others are ignored, whatever their type.
type jsonParameters struct {
	GrantType           string       `json:"grant_type"`
	ClientID            string       `json:"client_id"`
	ClientSecret        string       `json:"client_secret"`
	ClientAssertion     string       `json:"client_assertion"`
	ClientAssertionType string       `json:"client_assertion_type"`
	Code                string       `json:"code"`
	RedirectURI         string       `json:"redirect_uri"`
	CodeVerifier        string       `json:"code_verifier"`
	RefreshToken        string       `json:"refresh_token"`
	Scope               string       `json:"scope"`
	Audience            string       `json:"audience"`
	Resource            oneOrSeveral `json:"resource"`
	Token               string       `json:"token"`
}

func readJSONParameters(w http.ResponseWriter, r *http.Request) (oauth.Parameters, error) {
	var p jsonParameters
	if err := httpx.ReadJSON(w, r, &p); err != nil {
		if be, ok := errors.AsType[*httpx.BodyError](err); ok {
			return oauth.Parameters{}, &oauth.Error{Code: oauth.CodeInvalidRequest, Description: be.Reason, Status: be.Status}
		}
		return oauth.Parameters{}, err
	}
	values := url.Values{"resource": p.Resource}
	for name, value := range map[string]string{
		"grant_type": p.GrantType, "client_id": p.ClientID, "client_secret": p.ClientSecret,
		"client_assertion": p.ClientAssertion, "client_assertion_type": p.ClientAssertionType,
		"code": p.Code, "redirect_uri": p.RedirectURI, "code_verifier": p.CodeVerifier,
		"refresh_token": p.RefreshToken, "scope": p.Scope, "audience": p.Audience,
		"token": p.Token,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	// Through the parser of forms, so that one set of rules decides.
	return oauth.ParseQuery(values.Encode())
}

// oneOrSeveral is a JSON string or array of strings.
type oneOrSeveral []string

// UnmarshalJSON implements json.Unmarshaler.
func (v *oneOrSeveral) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '[' {
		return json.Unmarshal(raw, (*[]string)(v))
	}
	var one string
	if err := json.Unmarshal(raw, &one); err != nil {
		return err
	}
	if one != "" { // also null
		*v = oneOrSeveral{one}
	}
	return nil
}
