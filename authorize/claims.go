package authorize

import (
	"slices"

	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/token"
)

// This file implements the claims parameter (OpenID Connect Core §5.5).

// Bounds on the claims parameter.
const (
	maxClaimsParameter = 8 << 10
	maxClaimsDepth     = 8 // three levels are the parameter's own, the rest is inside of values
	maxClaims          = 100
	maxClaimValues     = 32
)

// claimsRequest is what the claims parameter asks for, as far as it means anything
// here.
type claimsRequest struct {
	userInfo, idToken token.ClaimSet
	// subjects are the values of sub that are acceptable. They limit only if
	// subjectLimited is set: none at all may be acceptable.
	subjects       []string
	subjectLimited bool
	// acr are the authentication context classes that are acceptable, best first. A
	// login that satisfies none is refused if acrEssential is set.
	acr          []string
	acrEssential bool
	// authTime says that auth_time is essential.
	authTime bool
}

// badClaims is an error about the claims parameter.
func badClaims(reason string) error {
	return oauth.Errorf(oauth.CodeInvalidRequest, "claims %s", reason)
}

// parseClaims reads the claims parameter, which may be empty. Members and claims
// that are not known are ignored (§5.5, §5.5.1). On error the result is zero.
func parseClaims(raw string) (claimsRequest, error) {
	if raw == "" {
		return claimsRequest{}, nil
	}
	if len(raw) > maxClaimsParameter {
		return claimsRequest{}, badClaims("is larger than 8 KiB")
	}
	if nesting(raw) > maxClaimsDepth {
		return claimsRequest{}, badClaims("is nested too deeply")
	}
	// Strictly, and all of it: a member that appears twice could be one value to the
	// check and another to the use.
	var whole any
	var members struct {
		UserInfo *map[string]*claimRequest `json:"userinfo"`
		IDToken  *map[string]*claimRequest `json:"id_token"`
	}
	if josejson.Unmarshal([]byte(raw), &whole) != nil {
		return claimsRequest{}, badClaims("is not valid JSON, or has a member twice")
	}
	if _, ok := whole.(map[string]any); !ok || josejson.Unmarshal([]byte(raw), &members) != nil {
		return claimsRequest{}, badClaims("is not an object whose members userinfo and id_token have for each claim null or an object, in which essential is a boolean and values a list")
	}
	var c claimsRequest
	for _, member := range []struct {
		claims  *map[string]*claimRequest
		idToken bool
	}{{members.UserInfo, false}, {members.IDToken, true}} {
		if member.claims == nil {
			continue
		}
		if len(*member.claims) > maxClaims {
			return claimsRequest{}, badClaims("has more than 100 claims in a member")
		}
		for name, claim := range *member.claims {
			if err := c.add(name, claim, member.idToken); err != nil {
				return claimsRequest{}, err
			}
		}
	}
	return c, nil
}

// claimRequest is how one claim is asked for (§5.5.1).
type claimRequest struct {
	Essential bool                  `json:"essential"`
	Value     josejson.RawMessage   `json:"value"`
	Values    []josejson.RawMessage `json:"values"`
}

// add takes in the request for one claim, which is nil where the parameter has
// null.
func (c *claimsRequest) add(name string, claim *claimRequest, idToken bool) error {
	if claim == nil {
		claim = &claimRequest{}
	}
	if len(claim.Values) > maxClaimValues {
		return badClaims("has more than 32 values for a claim")
	}
	switch name {
	case "sub":
		// §5.5.1: which user is meant. Asked for in both members, both hold.
		subjects, err := claim.texts(name)
		if err != nil || subjects == nil {
			return err
		}
		if c.subjectLimited {
			subjects = slices.DeleteFunc(subjects, func(s string) bool { return !slices.Contains(c.subjects, s) })
		}
		c.subjects, c.subjectLimited = subjects, true
		return nil
	case "acr":
		if !idToken { // it is about the login, of which userinfo says nothing
			return nil
		}
		// §5.5.1.1: essential without a value is a wish, as everything else is.
		acr, err := claim.texts(name)
		c.acr, c.acrEssential = acr, claim.Essential && len(acr) > 0
		return err
	case "auth_time":
		c.authTime = c.authTime || idToken && claim.Essential
		return nil
	}
	// A value does not restrict these: the client gets what the user's value is.
	if idToken {
		c.idToken |= token.ClaimsOf(name)
	} else {
		c.userInfo |= token.ClaimsOf(name)
	}
	return nil
}

// texts returns value and values, which are strings for the claim of that name, nil
// if there is neither.
func (r *claimRequest) texts(name string) ([]string, error) {
	list := r.Values
	if r.Value != nil && string(r.Value) != "null" {
		list = append(slices.Clip(list), r.Value)
	}
	var out []string
	for _, raw := range list {
		var s *string
		if josejson.Unmarshal(raw, &s) != nil || s == nil {
			return nil, badClaims("has a value for " + name + " that is not a string")
		}
		out = append(out, *s)
	}
	return out, nil
}

// nesting returns how deep arrays and objects of a JSON text are nested. What is
// not JSON has some depth too.
func nesting(text string) int {
	depth, deepest := 0, 0
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// parseClaims reads what the request asks for by name. The scope is known.
func (q *request) parseClaims() error {
	c, err := parseClaims(q.params.Get("claims"))
	if err != nil {
		return err
	}
	// A client that registered the scope that it will ask for gets no claim of
	// another one by its name.
	registered, err := oauth.ParseScope(q.client.Scope)
	if err != nil {
		return err
	}
	if len(registered) > 0 {
		c.userInfo &= token.ClaimsOfScope(registered)
		c.idToken &= token.ClaimsOfScope(registered)
	}
	// What cannot be delivered is not asked of the user: userinfo needs an access
	// token with the scope openid (§5.5).
	openID := q.scope.Has(oauth.ScopeOpenID)
	if !openID || !q.responseType.Has(oauth.ResponseCode) && !q.responseType.Has(oauth.ResponseToken) {
		c.userInfo = 0
	}
	if !q.responseType.Has(oauth.ResponseIDToken) && !(openID && q.responseType.Has(oauth.ResponseCode)) {
		c.idToken = 0
	}
	c.userInfo &^= token.ClaimsOfScope(q.scope) // userinfo has them anyway
	q.claims = c
	return nil
}

// consentClaims are the claims that the user is asked to allow by their names:
// those that are not part of the scope.
func (q *request) consentClaims() token.ClaimSet {
	return (q.claims.userInfo | q.claims.idToken) &^ token.ClaimsOfScope(q.scope)
}

// grantedClaims are the claims that a grant covers, as part of a scope or by name.
func grantedClaims(g *store.Grant) token.ClaimSet {
	return token.ClaimsOfScope(g.Scopes) | token.ClaimsOf(g.Claims...)
}

// claimDescriptions say what a claim discloses, in the words of the scopes.
var claimDescriptions = map[string]string{
	"name":                  "See your full name",
	"given_name":            "See your given name",
	"family_name":           "See your family name",
	"middle_name":           "See your middle name",
	"nickname":              "See your nickname",
	"preferred_username":    "See your username",
	"profile":               "See the address of your profile page",
	"picture":               "See your picture",
	"website":               "See the address of your website",
	"gender":                "See your gender",
	"birthdate":             "See your date of birth",
	"zoneinfo":              "See your time zone",
	"locale":                "See your language",
	"updated_at":            "See when your profile was last changed",
	"email":                 "See your email address",
	"email_verified":        "See whether your email address was verified",
	"address":               "See your postal address",
	"phone_number":          "See your phone number",
	"phone_number_verified": "See whether your phone number was verified",
}

func claimInfo(claims token.ClaimSet) []ScopeInfo {
	var out []ScopeInfo
	for _, name := range claims.Names() {
		out = append(out, ScopeInfo{Value: name, Description: claimDescriptions[name], Claim: true})
	}
	return out
}

// acceptsSubject reports whether tokens may be issued for the user with that sub:
// OpenID Connect Core §3.1.2.2 forbids it for another one than id_token_hint or the
// claim sub names.
func (q *request) acceptsSubject(sub string) bool {
	return (q.hintedSub == "" || q.hintedSub == sub) &&
		(!q.claims.subjectLimited || slices.Contains(q.claims.subjects, sub))
}

// limitsSubject reports whether there is a subject that acceptsSubject refuses.
func (q *request) limitsSubject() bool { return q.hintedSub != "" || q.claims.subjectLimited }
