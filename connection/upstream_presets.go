package connection

// preset is what is known of an upstream by its strategy. Members that are empty come
// from the connection's options.
type preset struct {
	// oidc says that the upstream is an OpenID Provider; it is a plain authorization
	// server otherwise.
	oidc bool
	// label is what buttons say.
	label string
	// subject is the claim that identifies users where there is no ID token. Empty: sub.
	subject string
	// social says that anybody may have an account there.
	social bool
	// namesOnce says that the upstream tells names at a user's first sign-in only.
	namesOnce bool
	// scopes are asked for if the options name none.
	scopes []string
}

var presets = map[string]*preset{
	StrategyOIDC:   {oidc: true, scopes: []string{"openid", "profile", "email"}},
	StrategyOAuth2: {social: true},
}
