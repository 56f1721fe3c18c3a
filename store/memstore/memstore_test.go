package memstore_test

import (
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t,
		func(t *testing.T) store.Stores { return memstore.New().Stores() },
		&storetest.Options[store.Stores]{
			// A Store has no handles, so the second one is the first.
			Second: func(t *testing.T, s store.Stores) store.Stores { return s },
		})
}
