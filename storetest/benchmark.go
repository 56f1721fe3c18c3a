package storetest

import (
	"testing"

	"github.com/opkit/opkit/store"
)

// Benchmark measures the calls that requests wait for.
func Benchmark(b *testing.B, newStores func(b *testing.B) store.Stores) {}
