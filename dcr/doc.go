// Package dcr is dynamic client registration: RFC 7591 and OpenID Connect
// Dynamic Client Registration 1.0.
//
// [Registrar.Registration] serves the endpoint at which third-party applications
// register themselves. It is open, so everything it reads is hostile until proved
// otherwise:
//
//   - A tenant that did not switch registration on, or not for that address, refuses
//     before anything of the request is read; a [Limiter] decides before the body is,
//     and once more when it is known where users would be sent.
//   - The body is at most 64 KiB of JSON with every member at most once. Members
//     that are not known are ignored: not stored, not echoed, not named. null and
//     "" mean that a member was left out.
//   - Every member that is stored was validated. An error names the member and
//     the rule, so that a developer can act on it.
//   - sector_identifier_uri is fetched when nothing else is wrong. It is the one
//     request that a registration sends, and [Config].Outbound bounds it.
//   - One store call creates the client. Its secret is generated, answered once and
//     kept as a digest; a client whose registered algorithms key on the secret
//     keeps it sealed besides.
//
// What a client may do depends on its security mode, which the tenant's settings
// give it when it registers and which never changes:
//
//	                 strict                permissive
//	client_id        tpc_ + 32 characters  32 characters
//	grant_types      authorization_code    the same, implicit,
//	                 refresh_token         client_credentials, device_code
//	response_types   code                  every combination; none if registered
//
// An [InitialAccessToken] permits registrations where the tenant asks for one, and
// says what they may be: narrower than usual, or first-party.
//
// A [SoftwareIssuer] is trusted to say what an application is, in software
// statements.
//
// Whoever registered an application cannot change it, unless the tenant switched
// that on: [Registrar.ClientConfiguration] then serves RFC 7592. It keeps three
// things: what users allowed is not remembered for an application that looks other
// than the one they saw; a client that authenticates stays one; and every change
// goes through the validation of a registration.
//
// Registrations that nobody uses do not stay: see [Lifecycle] and [Registrar.Sweep].
//
// [Registrar.CreateClient] creates the applications of the tenant's own.
// [Registrar.RotateSecret] replaces a client secret. [Registrar.DeleteClient] removes
// an application with everything it holds: each way in which clients go that hold
// something leads through it.
package dcr
