// Package memstore keeps everything in memory. It is the reference
// implementation of the interfaces of package store.
package memstore
