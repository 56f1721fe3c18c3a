// Package flowtest uses a provider as people and applications do, over HTTP, and
// remembers what the provider acknowledged. Tests that stop providers, kill them or
// run several side by side compare that with what there is afterwards.
package flowtest
