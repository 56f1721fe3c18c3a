package connection

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file makes a profile of what an upstream says of a user. An upstream is not
// asked to be careful: what is too long or no text is left out.

// mappedAttributes are the members of a profile that options.attribute_map may fill in.
var mappedAttributes = []string{
	"birthdate", "email", "email_verified", "family_name", "gender", "given_name", "locale", "middle_name", "name", "nickname",
	"phone_number", "phone_number_verified", "picture", "preferred_username", "profile", "sub", "website", "zoneinfo",
}

var claimReference = regexp.MustCompile(`^\$\{context\.(?:tokenset|userinfo)\.([^${}]+)\}$`)

// claimPath returns the path to a claim that a mapping names: ${context.userinfo.a.b},
// or the claim's name, or a path with dots.
func claimPath(reference string) (string, bool) {
	if m := claimReference.FindStringSubmatch(reference); m != nil {
		reference = m[1]
	}
	if reference == "" || len(reference) > maxUpstreamText || strings.ContainsAny(reference, "${}") || !isText(reference, maxUpstreamText) {
		return "", false
	}
	return reference, true
}

// claimAt returns the claim of that name or, if there is none, the member that a path
// with dots leads to.
func claimAt(claims map[string]json.RawMessage, path string) json.RawMessage {
	if raw, ok := claims[path]; ok {
		return raw
	}
	head, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	var inner map[string]json.RawMessage
	if josejson.Unmarshal(claims[head], &inner) != nil {
		return nil
	}
	return claimAt(inner, rest)
}

// claimText returns a claim that is a string, or an integer as it was written.
func claimText(raw json.RawMessage, limit int) string {
	var s string
	if isInteger(raw) {
		s = string(raw)
	} else if len(raw) == 0 || josejson.Unmarshal(raw, &s) != nil {
		return ""
	}
	if !isText(s, limit) {
		return ""
	}
	return s
}

func isInteger(raw json.RawMessage) bool {
	for _, c := range raw {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(raw) > 0
}

// claimTrue reports whether a claim is true. Some providers write it as a string.
func claimTrue(raw json.RawMessage) bool { return string(raw) == "true" || string(raw) == `"true"` }

// UpstreamProfile is what an upstream says of a user.
type UpstreamProfile struct {
	// Email is folded to lower case, empty if it is none. EmailVerified says that the
	// upstream vouches for it.
	Email         string
	EmailVerified bool
	Profile       store.Profile
}

// profileOf maps claims by the options.
func (o *upstreamOptions) profileOf(claims map[string]json.RawMessage) UpstreamProfile {
	at := func(name string) json.RawMessage {
		if reference, ok := o.AttributeMap.Attributes[name]; ok {
			path, _ := claimPath(reference)
			return claimAt(claims, path)
		}
		if o.AttributeMap.Mode == "use_map" {
			return nil // what is not mapped is not taken
		}
		return claims[name]
	}
	text := func(name string) string { return claimText(at(name), maxUserText) }
	link := func(name string) string {
		if s := text(name); s != "" && oauth.CheckURI(s, "https", "http") == nil {
			return s
		}
		return ""
	}
	out := UpstreamProfile{Profile: store.Profile{
		Name: text("name"), GivenName: text("given_name"), FamilyName: text("family_name"), MiddleName: text("middle_name"),
		Nickname: text("nickname"), PreferredUsername: text("preferred_username"), ProfileURL: link("profile"), Picture: link("picture"),
		Website: link("website"), Gender: text("gender"), Birthdate: text("birthdate"), Zoneinfo: text("zoneinfo"), Locale: text("locale"),
		PhoneNumber: text("phone_number"),
	}}
	out.Profile.PhoneNumberVerified = out.Profile.PhoneNumber != "" && claimTrue(at("phone_number_verified"))
	if email := foldLogin(text("email")); email != "" && checkEmail(email) == nil {
		out.Email, out.EmailVerified = email, claimTrue(at("email_verified"))
	}
	o.drop(&out)
	return out
}

// drop removes what the options say is not to be kept.
func (o *upstreamOptions) drop(u *UpstreamProfile) {
	p := &u.Profile
	for name, member := range map[string]*string{
		"name": &p.Name, "given_name": &p.GivenName, "family_name": &p.FamilyName, "middle_name": &p.MiddleName, "nickname": &p.Nickname,
		"preferred_username": &p.PreferredUsername, "profile": &p.ProfileURL, "picture": &p.Picture, "website": &p.Website, "gender": &p.Gender,
		"birthdate": &p.Birthdate, "zoneinfo": &p.Zoneinfo, "locale": &p.Locale, "phone_number": &p.PhoneNumber, "email": &u.Email,
	} {
		if slices.Contains(o.NotKept, name) {
			*member = ""
		}
	}
	u.EmailVerified = u.EmailVerified && u.Email != ""
	p.PhoneNumberVerified = p.PhoneNumberVerified && p.PhoneNumber != ""
}

// subjectOf returns what an upstream that is no OpenID Provider calls a user.
func (o *upstreamOptions) subjectOf(claims map[string]json.RawMessage) string {
	return claimText(claimAt(claims, o.subjectPath()), maxUpstreamText)
}

// subjectPath is where that is said.
func (o *upstreamOptions) subjectPath() string {
	if reference, ok := o.AttributeMap.Attributes["sub"]; ok {
		path, _ := claimPath(reference)
		return path
	}
	if o.preset.subject != "" {
		return o.preset.subject
	}
	return "sub"
}
