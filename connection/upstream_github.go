package connection

import (
	"context"
	"encoding/json"
	"strings"

	josejson "github.com/go-jose/go-jose/v4/json"
)

// This file is about GitHub, which has no ID tokens and tells email addresses apart from
// the rest of the profile.

const maxGitHubEmails = 100

var gitHub = &preset{
	social: true, label: "GitHub", scopes: []string{"read:user", "user:email"}, subject: "id", loginHint: "login",
	authorizationEndpoint: "https://github.com/login/oauth/authorize",
	tokenEndpoint:         "https://github.com/login/oauth/access_token",
	userinfoEndpoint:      "https://api.github.com/user",
	more: func(ctx context.Context, d *Directory, o *upstreamOptions, accessToken string, info map[string]json.RawMessage) error {
		for to, from := range map[string]string{"nickname": "login", "preferred_username": "login", "picture": "avatar_url", "profile": "html_url", "website": "blog"} {
			info[to] = info[from]
		}
		// The address in the profile is the public one, of which nothing is known.
		delete(info, "email")
		delete(info, "email_verified")
		fetched, err := fetchJSON(ctx, d.upstreams.client, strings.TrimSuffix(o.UserinfoEndpoint, "/")+"/emails", accessToken)
		if err != nil {
			return err
		}
		email, verified, err := parseGitHubEmails(fetched.Body)
		if err != nil || email == "" {
			return err
		}
		if info["email"], err = json.Marshal(email); err != nil {
			return err
		}
		info["email_verified"], err = json.Marshal(verified)
		return err
	},
}

// parseGitHubEmails returns the primary address. On error the result is zero.
func parseGitHubEmails(body []byte) (email string, verified bool, err error) {
	var list []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if josejson.Unmarshal(body, &list) != nil || len(list) > maxGitHubEmails {
		return "", false, upstreamFailed("the list of email addresses is not a JSON array of objects, or too long")
	}
	for _, e := range list {
		if e.Primary {
			return e.Email, e.Verified, nil
		}
	}
	return "", false, nil
}
