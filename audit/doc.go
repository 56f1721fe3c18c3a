// Package audit is the stream of decisions that a provider takes: who registered or
// signed in, who was refused and by which rule, what was changed and removed, and why.
//
// The host gives the provider a [Sink], which receives each [Event] when it happened.
// Nothing in an event is a secret or a token. [Log] is a sink that writes to a
// [log/slog.Logger]. A [Queue] stands before a sink that takes its time.
package audit
